"""Encoders that are known to be whole without torch."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.core.checkpoint import BUNDLED, find_checkpoint, read_config
from pipeline.core.weights import Shape, read_shapes
from pipeline.models.architecture import load_config
from pipeline.models.limits import most_tokens, n_token_ids, n_token_types
from pipeline.models.plain_encoders import PLAIN_TYPES, is_plainly_whole, plain_limits
from pipeline.models.tensor_faults import is_of_head
from tests.conftest import MODEL_TYPES, make_model
from tests.old_names import to_old_name

WIDE = {"electra": [{}, {"embedding_size": 16}], "bert": [{}, {"type_vocab_size": 1}]}
CHANGES = [(kind, changes) for kind in PLAIN_TYPES for changes in WIDE.get(kind, [{}])]


def saved(
    folder: Path, kind: str, changes: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Shape]]:
    """Save a model; return its config.json and the shapes of its tensors."""
    make_model(kind, changes=changes).save_pretrained(folder)
    return read_config(folder), read_shapes(folder)


@pytest.mark.parametrize(("kind", "changes"), CHANGES)
def test_each_tensor_of_an_encoder_is_listed(
    tmp_path: Path, kind: str, changes: dict[str, Any]
) -> None:
    """Catches a table that lacks a tensor which Transformers' class has, or lists another."""
    config, shapes = saved(tmp_path, kind, changes)
    model = make_model(kind, changes=changes)
    assert is_plainly_whole(config, shapes)
    encoder = [name for name in shapes if not is_of_head(model, name)]
    assert len(encoder) > 40 and set(encoder) < set(shapes)
    for name in encoder:
        assert not is_plainly_whole(config, {key: shapes[key] for key in shapes if key != name})
        assert not is_plainly_whole(config, shapes | {name: (*shapes[name], 1)})
        assert not is_plainly_whole(config, shapes | {name: (shapes[name][0] + 1,)})


@pytest.mark.parametrize("kind", PLAIN_TYPES)
def test_a_head_and_a_prefix_do_not_matter(tmp_path: Path, kind: str) -> None:
    """Negative control: a base model, another head and old buffers are whole too."""
    config, shapes = saved(tmp_path, kind, {})
    prefix = f"{make_model(kind).base_model_prefix}."
    alone = {name.removeprefix(prefix): shapes[name] for name in shapes if name.startswith(prefix)}
    assert is_plainly_whole(config, alone)
    assert is_plainly_whole(config, alone | {"embeddings.position_ids": (1, 66)})
    assert is_plainly_whole(config, shapes | {"cls.predictions.bias": (32,)})


def test_what_is_not_plain_is_not_let_pass(tmp_path: Path) -> None:
    """Catches a checkpoint with more layers, old names or a decoder's parts, let pass unseen."""
    config, shapes = saved(tmp_path, "bert", {})
    assert is_plainly_whole(config, shapes)
    assert not is_plainly_whole(config | {"num_hidden_layers": 2}, shapes)
    assert not is_plainly_whole(config | {"num_hidden_layers": 4}, shapes)
    assert not is_plainly_whole(config | {"add_cross_attention": True}, shapes)
    assert not is_plainly_whole(config | {"model_type": "roberta"}, shapes)
    assert not is_plainly_whole(config | {"hidden_size": "16"}, shapes)
    assert not is_plainly_whole({key: config[key] for key in config if key != "vocab_size"}, shapes)
    assert not is_plainly_whole(config, {to_old_name(name): shapes[name] for name in shapes})
    relative = "bert.encoder.layer.0.attention.self.distance_embedding.weight"
    assert not is_plainly_whole(config, shapes | {relative: (127, 4)})
    assert not is_plainly_whole(config, {f"module.{name}": shapes[name] for name in shapes})


@pytest.mark.parametrize("kind", sorted(set(MODEL_TYPES) - set(PLAIN_TYPES)))
def test_other_types_are_for_transformers_to_judge(tmp_path: Path, kind: str) -> None:
    """Catches a type that is let pass by the table of another."""
    assert not is_plainly_whole(*saved(tmp_path, kind, {}))


def test_the_packaged_checkpoint_is_plain() -> None:
    """Catches a default project whose check imports torch."""
    folder = find_checkpoint(BUNDLED)
    assert is_plainly_whole(read_config(folder), read_shapes(folder))


@pytest.mark.parametrize("kind", PLAIN_TYPES)
def test_limits_are_those_of_transformers(tmp_path: Path, kind: str) -> None:
    """Catches a limit that config.json leaves to a default and that is taken for none."""
    config, shapes = saved(tmp_path, kind, {"pad_token_id": 0})
    plain, whole = plain_limits(config, shapes), load_config(tmp_path)
    assert plain is not None
    for limit in (most_tokens, n_token_ids, n_token_types):
        assert limit(plain) == limit(whole)
    assert most_tokens(whole) in (65, 66)
    for name in ("pad_token_id", "max_position_embeddings", "vocab_size"):
        assert plain_limits({key: config[key] for key in config if key != name}, shapes) is None
