"""Settings of the students that are not Transformers, against the networks that they describe."""

import dataclasses

import pytest
import torch
from transformers import PreTrainedConfig

from pipeline.student.network_settings import STUDENTS, NetworkSettings

GIVEN = {"vocab_size", "pad_token_id"}
"""Follow from the tokenizer."""
each_student = pytest.mark.parametrize("name", STUDENTS)


@each_student
def test_settings_are_the_sizes_of_the_config(name: str) -> None:
    """Catches a size that cannot be set, and a default that stands in two places and differs."""
    settings = STUDENTS[name]
    config = settings.network_class().config_class
    assert config is not None
    own = config.__mro__[: config.__mro__.index(PreTrainedConfig)]
    declared = {field for part in own for field in part.__annotations__} - GIVEN - {"model_type"}
    of_all = NetworkSettings.model_fields.keys() - {"embedding_size"}
    assert declared == settings.model_fields.keys() - of_all
    assert len(declared) > 1
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    for field in declared - {"embedding_size"}:  # null is the teacher's, or the config's own
        assert settings.model_fields[field].default == defaults[field], field
    assert settings.model_fields["architecture"].default == name
    assert config.model_type == name


@each_student
def test_the_width_is_that_of_what_the_classifier_reads(name: str) -> None:
    """Catches a projection to the teacher's width that is made for another width."""
    settings = STUDENTS[name]()
    network = settings.network_class()(settings.config(6, vocab_size=16, num_labels=2)).eval()
    outputs = network(torch.tensor([[5, 6, 7]]))
    states = getattr(outputs, "pooler_output", None)
    width = network.classifier.in_features if states is None else states.shape[-1]
    assert settings.width == width == network.config.hidden_size
    has_weights = getattr(outputs, "attentions", None) is not None
    assert settings.pools_by_attention == has_weights
