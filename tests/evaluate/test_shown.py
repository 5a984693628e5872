"""What the report shows of a student, measured on a teacher that is its own student."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import DataError
from pipeline.evaluate.shown import write_shown
from pipeline.evaluate.shown_attentions import choose_texts
from pipeline.models.inputs import Inputs, ModelRows
from pipeline.store.manifest import read_manifest
from pipeline.store.spec import parse_array_name
from pipeline.store.view import View, make_view
from pipeline.student.text_cnn import TextCnnConfig, TextCnnForSequenceClassification
from pipeline.text.tokens import Tokens
from tests.conftest import capture_store


@pytest.fixture(scope="module")
def store_dir(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, tokens: Tokens) -> Path:
    """A store with [CLS] and the attention maps of layers 2 and 4; not to be changed."""
    return capture_store(tmp_path_factory.mktemp("shown") / "store", checkpoint, tokens)


@pytest.fixture
def teacher(checkpoint: Path) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(checkpoint)
    return model.eval()


def view_of(store_dir: Path, tokens: Tokens, *signals: str) -> View:
    manifest = read_manifest(store_dir)
    arrays = [parse_array_name(name) for name in manifest.array_names()]
    return make_view(store_dir, manifest, tokens, [one for one in arrays if one.signal in signals])


def show(
    folder: Path, model: PreTrainedModel, tokens: Tokens, store_dir: Path, view: View
) -> dict[str, Any]:
    """Return what is written, by file name."""
    tokenizer = load_tokenizer(store_dir / "teacher")
    rows = ModelRows(tokens.splits["test"], tokenizer, Inputs(0, has_token_types=True))
    folder.mkdir()
    write_shown(folder, model, rows, tokens, "test", store_dir, view)
    return {path.stem: json.loads(path.read_text("utf-8")) for path in folder.iterdir()}


def test_a_teacher_is_like_itself_layer_by_layer(
    tmp_path: Path, teacher: PreTrainedModel, tokens: Tokens, store_dir: Path
) -> None:
    """Catches layers off by one, and rows of the store that are not the student's."""
    view = view_of(store_dir, tokens, "logits", "cls", "attentions")
    similarity = show(tmp_path / "a", teacher, tokens, store_dir, view)["similarity"]
    assert similarity["student_layers"] == similarity["teacher_layers"] == [1, 2, 3, 4]
    assert similarity["n_rows"] == 30
    cka = np.array(similarity["cka"])
    # [CLS] is stored as float16: relative error 2^-11 of each number.
    np.testing.assert_allclose(cka.diagonal(), 1, atol=2**-10)
    assert cka[0, 3] < 0.95  # and other layers are not


def test_its_maps_are_the_stored_ones(
    tmp_path: Path, teacher: PreTrainedModel, tokens: Tokens, store_dir: Path
) -> None:
    """Catches maps of another layer, row or head, and padding inside a map."""
    with torch.inference_mode():
        before = teacher(torch.tensor([[2, 6, 7, 8, 3]])).logits
    view = view_of(store_dir, tokens, "logits", "cls", "attentions")
    shown = show(tmp_path / "a", teacher, tokens, store_dir, view)["attentions"]
    assert len(shown["texts"]) == 2
    for text in shown["texts"]:
        assert text["student_tokens"] == text["teacher_tokens"]
        assert text["teacher_tokens"][1:-1] == text["text"].split()
        layers = [(pair["student_layer"], pair["teacher_layer"]) for pair in text["pairs"]]
        assert layers == [(1, 2), (2, 2), (4, 4)]
        maps = [(np.array(one["student"]), np.array(one["teacher"])) for one in text["pairs"]]
        for ours, theirs in maps:
            assert ours.shape == theirs.shape == (len(text["teacher_tokens"]),) * 2
            # Each of up to 48 numbers is rounded to 4 digits.
            np.testing.assert_allclose(ours.sum(1), 1, atol=48 * 5e-5)
        for ours, theirs in maps[1:]:
            # float16 in the store, and both rounded to 4 digits.
            np.testing.assert_allclose(ours, theirs, atol=2**-11 + 1e-4)
        assert np.abs(maps[0][0] - maps[0][1]).max() > 0.01  # layer 1 is not layer 2
    with torch.inference_mode():
        after = teacher(torch.tensor([[2, 6, 7, 8, 3]])).logits
    assert torch.equal(before, after)


def test_what_was_not_captured_is_named(
    tmp_path: Path, teacher: PreTrainedModel, tokens: Tokens, store_dir: Path
) -> None:
    """Catches an evaluation that fails for want of a picture."""
    found = show(tmp_path / "a", teacher, tokens, store_dir, view_of(store_dir, tokens, "logits"))
    assert found["similarity"] == {"absent": "the store has no 'cls'; add it under capture.signals"}
    assert found["attentions"]["absent"].startswith("the store has no 'attentions'")
    assert found["provenance"]["store"]["arrays"].keys() == {"logits"}


def test_files_that_were_not_fetched_are_named(
    tmp_path: Path, teacher: PreTrainedModel, tokens: Tokens, store_dir: Path
) -> None:
    """Catches a refusal of the whole store where only the files of one signal are missing."""
    view = view_of(store_dir, tokens, "logits", "cls", "attentions")
    partial = tmp_path / "partial"
    shutil.copytree(store_dir, partial)
    shutil.rmtree(partial / "attentions")
    found = show(tmp_path / "a", teacher, tokens, partial, view)
    assert found["attentions"]["absent"] == "the files of 'attentions' are not on this machine"
    assert len(found["similarity"]["cka"]) == 4


def test_a_network_has_one_state_and_no_maps(
    tmp_path: Path, tokens: Tokens, store_dir: Path
) -> None:
    """Catches layers that a network does not have."""
    config = TextCnnConfig(vocab_size=32, embedding_size=8, n_filters=6, num_labels=2)
    model = TextCnnForSequenceClassification(config)
    view = view_of(store_dir, tokens, "logits", "cls", "attentions")
    found = show(tmp_path / "a", model, tokens, store_dir, view)
    assert found["similarity"]["student_layers"] == []
    assert np.array(found["similarity"]["cka"]).shape == (1, 4)
    assert found["attentions"] == {"absent": "a text_cnn has no attention maps"}


def test_texts_are_short_and_of_the_frequent_labels() -> None:
    """Catches maps of a hundred tokens, and two texts of one label."""
    predicted = np.array([0, 0, 0, 1, 1, 2])
    assert choose_texts(np.array([3, 11, 40, 60, 14, 12]), predicted) == [1, 4]
    with pytest.raises(DataError, match="more than 48 tokens"):
        choose_texts(np.array([49, 50, 60, 70, 80, 90]), predicted)
