"""What a checkpoint's config says of its depth, widths and [CLS] position."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from transformers import CONFIG_MAPPING

from pipeline.core.errors import CheckpointError
from pipeline.models.architecture import Architecture, read_architecture
from pipeline.models.config_file import plain_config
from pipeline.models.encoder_decoder import DECODER_NAMES
from tests.conftest import DECODERS, MODEL_TYPES, make_model


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_sizes_of_every_type(tmp_path: Path, model_type: str) -> None:
    """Catches a config that calls a size by another name (n_embd, dim), and key heads."""
    make_model(model_type).save_pretrained(tmp_path)
    assert read_architecture(tmp_path) == Architecture(
        model_type=model_type,
        n_layers=3,
        n_heads=4,
        hidden_size=16,
        n_labels=2,
        head_reads="last" if model_type in DECODERS else "first",
    )


def test_modernbert_may_read_the_mean(tmp_path: Path) -> None:
    """Catches [CLS] states of a token that the head does not look at."""
    make_model("modernbert", changes={"classifier_pooling": "mean"}).save_pretrained(tmp_path)
    assert read_architecture(tmp_path).head_reads == "mean"


def test_an_unknown_type_is_refused(tmp_path: Path) -> None:
    """Catches the first token taken for [CLS] in a model whose head reads another."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "xlnet"}))
    message = (
        f"{tmp_path}: a model of type 'xlnet': what its head reads is known only for albert, "
        "bert, deberta-v2, distilbert, electra, gpt2, llama, modernbert, mpnet, qwen2, qwen3, "
        "roberta, xlm-roberta. Use one of these."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        read_architecture(tmp_path)


@pytest.mark.parametrize("model_type", DECODERS)
def test_a_decoder_needs_its_padding_token(tmp_path: Path, model_type: str) -> None:
    """Catches a head that reads the padding of all but the longest rows."""
    make_model(model_type, changes={"pad_token_id": None}).save_pretrained(tmp_path)
    message = (
        f"{tmp_path}: a model of type '{model_type}' needs pad_token_id in its config.json, "
        "because its head reads the last token that is not padding. Set it to the tokenizer's."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        read_architecture(tmp_path)


def test_layers_in_inner_groups_are_refused(tmp_path: Path) -> None:
    """Catches an ALBERT whose every layer is two, and gives twice the states."""
    make_model("albert", changes={"inner_group_num": 2}).save_pretrained(tmp_path)
    message = (
        f"{tmp_path}: inner_group_num is 2, so each of its 3 layers is several. Use a checkpoint "
        "with inner_group_num 1."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        read_architecture(tmp_path)


def by_transformers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Architecture:
    """Return the architecture that Transformers' own config class gives."""
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.models.architecture.plain_config", lambda _: None)
        return read_architecture(folder)


@pytest.mark.parametrize("model_type", [*MODEL_TYPES, *DECODER_NAMES])
def test_the_file_says_what_transformers_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_type: str
) -> None:
    """Catches a size under another name, and a default of this code instead of Transformers'.

    Without the value the file is not enough, and Transformers is asked.
    """
    CONFIG_MAPPING[model_type](num_labels=5, pad_token_id=0).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    whole = json.loads(path.read_text())
    n_labels = 5 if model_type in MODEL_TYPES else whole["vocab_size"]
    if model_type == "marian":
        n_labels = whole["decoder_vocab_size"]
    assert plain_config(tmp_path) is not None
    assert read_architecture(tmp_path) == by_transformers(tmp_path, monkeypatch)
    assert read_architecture(tmp_path).n_labels == n_labels
    names = {"pad_token_id"} if model_type in DECODERS else set()
    names |= {"classifier_pooling"} if model_type == "modernbert" else set()
    names |= {name for name in whole if re.search(r"(^|[a-z]_)(n_|num_)?(layers?|heads?)$", name)}
    names -= {"num_key_value_heads", "max_window_layers"}
    assert names
    for name in names:
        path.write_text(json.dumps({key: whole[key] for key in whole if key != name}))
        assert plain_config(tmp_path) is None, name
        if name != "pad_token_id":
            assert read_architecture(tmp_path) == by_transformers(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "config",
    [
        {"num_hidden_layers": "3"},
        {"num_hidden_layers": True},
        {"num_labels": 3, "id2label": {"0": "a", "1": "b"}},
        {"is_encoder_decoder": True},
        {"model_type": "distilbert", "n_layers": 2},
        {"model_type": ["bert"]},
    ],
)
def test_an_unclear_file_is_left_to_transformers(tmp_path: Path, config: dict[str, Any]) -> None:
    """Catches sizes taken from values that Transformers reads otherwise, or refuses."""
    sizes = {"num_hidden_layers": 3, "num_attention_heads": 4, "hidden_size": 16}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "bert", **sizes}))
    assert plain_config(tmp_path) is not None
    path.write_text(json.dumps({"model_type": "bert", **sizes, **config}))
    assert plain_config(tmp_path) is None
