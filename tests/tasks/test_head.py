"""Heads of checkpoints: labels in another order, and models that read choices."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel

from pipeline.core.errors import CheckpointError
from pipeline.core.fingerprint import digest_weights
from pipeline.models.checkpoint_config import names_of_head
from pipeline.models.head import load_trained, reorder_labels
from pipeline.models.inputs import pad_rows
from pipeline.tasks import TASKS
from pipeline.teacher.load import load_teacher
from tests.compared import make_models
from tests.conftest import capture_store, make_rows
from tests.tasks.conftest import MakeSmall
from tests.tasks.small_tasks import LABELS, make_teacher
from tests.train.conftest import Setting

TASK = TASKS["token_classification"]
NAMES = LABELS["token_classification"]
OTHER = ("O", "B-GOOD", "B-BAD", "I-GOOD")  # a cycle of three: its own inverse would not do
MODELS = replace(make_models(2, 2, hidden_size=16, n_heads=4), task=TASK)
INPUTS = pad_rows(make_rows([5, 9, 3]), 0, has_token_types=True)


def logits_of(model: PreTrainedModel, inputs: dict[str, Tensor] = INPUTS) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model.eval()(**inputs).logits
    return logits


def save_permuted(teacher: Path, folder: Path) -> Path:
    """Save a teacher once more with its labels, and the head's outputs, in the order of OTHER."""
    make_teacher(folder, "token_classification", labels=OTHER)
    model = load_trained(teacher, TASK)
    order = [NAMES.index(name) for name in OTHER]
    with torch.no_grad():
        for weight in model.classifier.parameters():
            weight.copy_(weight[order].clone())
    model.config.id2label = dict(enumerate(OTHER))
    model.config.label2id = {name: index for index, name in enumerate(OTHER)}
    model.save_pretrained(folder)
    return folder


def test_the_order_of_a_checkpoints_labels_changes_no_student(
    small: MakeSmall, tmp_path: Path
) -> None:
    """Catches a teacher whose answer for one label is taken for that of another."""
    data = small("token_classification")
    permuted = save_permuted(data.teacher, tmp_path / "permuted")
    plain, other = (
        load_teacher(folder, TASK, NAMES, needs_head=True) for folder in (data.teacher, permuted)
    )
    stored = logits_of(load_trained(permuted, TASK))
    assert torch.equal(stored, logits_of(plain)[..., [NAMES.index(name) for name in OTHER]])
    assert not torch.equal(stored, logits_of(plain))
    assert torch.equal(logits_of(other), logits_of(plain))
    assert other.config.id2label == dict(enumerate(NAMES)) == plain.config.id2label
    assert other.config.label2id == {name: index for index, name in enumerate(NAMES)}
    other.save_pretrained(tmp_path / "teacher")
    load = AutoConfig.from_pretrained(tmp_path / "teacher")
    assert [load.id2label[number] for number in range(4)] == list(NAMES)

    trained = {}
    for name, model in (("plain", plain), ("other", other)):
        folder = make_teacher(tmp_path / f"{name}-teacher", "token_classification")
        model.save_pretrained(folder)
        store = capture_store(tmp_path / name, folder, data.tokens, layers=(2,))
        setting = Setting(store, data.tokens, {"soft_target": {}}, MODELS)
        student = setting.build_student()
        reports = zip(setting.train(setting.join(), student, batch_size=16), range(3), strict=False)
        assert len(list(reports)) == 3
        student.save_pretrained(tmp_path / f"{name}-student")
        trained[name] = digest_weights(tmp_path / f"{name}-student")
    assert trained["plain"] == trained["other"]


HEADS: dict[str, dict[str, Any]] = {
    "roberta": {},  # classifier.dense, classifier.out_proj
    "distilbert": {"dim": 16, "hidden_dim": 32},  # pre_classifier, classifier
    "electra": {"embedding_size": 8},
}


@pytest.mark.parametrize("model_type", HEADS)
def test_heads_of_other_models_are_put_in_order(model_type: str, tmp_path: Path) -> None:
    """Catches a layer before the last that is taken for the one with the labels."""
    names, wanted = ("a", "b", "c"), ("c", "a", "b")
    torch.manual_seed(0)
    task = TASKS["classification"]
    model = task.auto_model.from_config(config_of(model_type, names, HEADS[model_type]))
    before = logits_of(model, {name: INPUTS[name] for name in ("input_ids", "attention_mask")})
    reorder_labels(model, names, wanted)
    after = logits_of(model, {name: INPUTS[name] for name in ("input_ids", "attention_mask")})
    assert torch.equal(after, before[:, [names.index(name) for name in wanted]])
    assert not torch.equal(after, before)


def config_of(model_type: str, names: tuple[str, ...], sizes: dict[str, Any]) -> Any:
    return AutoConfig.for_model(
        model_type,
        vocab_size=32,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=32,
        max_position_embeddings=66,
        pad_token_id=0,
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
        **sizes,
    )


def test_a_head_with_two_layers_as_wide_as_the_labels_is_refused() -> None:
    """Catches a hidden layer of the head that is permuted because it has as many outputs."""
    names = tuple(f"label-{number:02d}" for number in range(16))
    model = TASKS["classification"].auto_model.from_config(config_of("roberta", names, {}))
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    message = (
        f"in another order than the data's, and classifier.dense.weight, classifier.dense.bias, "
        "classifier.out_proj.weight, classifier.out_proj.bias may give them. Name them in the "
        f"order {', '.join(names)} under data.labels."
    )
    with pytest.raises(CheckpointError, match=re.escape(message)):
        reorder_labels(model, names, names[::-1])
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())


def test_a_model_for_answers_gives_logits(small: MakeSmall) -> None:
    """Catches first tokens taken for last ones, and states that only the model's own has."""
    data = small("question_answering")
    own = data.task.auto_model.from_pretrained(data.teacher).eval()
    model = load_trained(data.teacher, data.task).eval()
    with torch.no_grad():
        expected, found = (one(**INPUTS, output_hidden_states=True) for one in (own, model))
    assert torch.equal(found.logits[..., 0], expected.start_logits)
    assert torch.equal(found.logits[..., 1], expected.end_logits)
    assert not torch.equal(expected.start_logits, expected.end_logits)
    assert len(found.hidden_states) == 3
    for ours, theirs in zip(found.hidden_states, expected.hidden_states, strict=True):
        assert torch.equal(ours, theirs)


def test_a_model_for_choices_reads_rows(small: MakeSmall) -> None:
    """Catches rows that are read as the choices of one question, or a loss of token types."""
    data = small("multiple_choice")
    own = data.task.auto_model.from_pretrained(data.teacher)
    expected = logits_of(own, {name: values[None] for name, values in INPUTS.items()})
    found = logits_of(load_trained(data.teacher, data.task))
    assert expected.shape == (1, 3) and found.shape == (3, 1)
    # One batch of three rows each: the same sums in the same order.
    torch.testing.assert_close(found[:, 0], expected[0], rtol=1e-6, atol=1e-6)
    without = {**INPUTS, "token_type_ids": torch.zeros_like(INPUTS["token_type_ids"])}
    assert not torch.allclose(logits_of(load_trained(data.teacher, data.task), without), found)


def test_the_only_label_of_a_number_may_have_any_name(tmp_path: Path) -> None:
    """Catches a teacher that is refused for a name that says nothing."""
    folder = tmp_path / "teacher"
    make_teacher(folder, "regression", labels=("similarity",))
    load_teacher(folder, TASKS["regression"], ("score",), needs_head=True)


def write_names(folder: Path, **names: Any) -> Path:
    """Save a classifier of two labels whose config.json has these `id2label` and `label2id`."""
    make_teacher(folder, "classification")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["id2label"], config["label2id"]
    (folder / "config.json").write_text(json.dumps(config | names), encoding="utf-8")
    return folder


SILENT = {"0": "LABEL_0", "1": "LABEL_1"}


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ({"id2label": {"1": "negative", "0": "positive"}}, ("positive", "negative")),
        ({"label2id": {"negative": 1, "positive": 0}}, ("positive", "negative")),
        (
            {"id2label": SILENT, "label2id": {"negative": 1, "positive": 0}},
            ("positive", "negative"),
        ),
        (
            {
                "id2label": {"0": "positive", "1": "negative"},
                "label2id": {"LABEL_0": 0, "LABEL_1": 1},
            },
            ("positive", "negative"),
        ),
        ({"id2label": {"0": 1, "1": 0}, "label2id": {"1": 0, "0": 1}}, ("1", "0")),
    ],
)
def test_a_head_is_named_wherever_its_config_does(
    names: dict[str, Any], labels: tuple[str, ...], tmp_path: Path
) -> None:
    """Catches answers for one label taken for another, and a traceback over names like 0 and 1."""
    folder = write_names(tmp_path / "teacher", **names)
    assert names_of_head(folder) == list(labels)
    task = TASKS["classification"]
    stored = logits_of(load_trained(folder, task))
    assert torch.equal(logits_of(load_teacher(folder, task, labels, needs_head=True)), stored)
    turned = load_teacher(folder, task, labels[::-1], needs_head=True)
    assert torch.equal(logits_of(turned), stored.flip(1)) and not torch.equal(stored[0], stored[1])
    with pytest.raises(CheckpointError, match=rf"trained with the labels {', '.join(labels)}, the"):
        load_teacher(folder, task, ("good", "bad"), needs_head=True)


def test_a_head_with_two_orders_is_refused(tmp_path: Path) -> None:
    """Catches one of two orders that is believed without a word."""
    names = {
        "id2label": {"0": "positive", "1": "negative"},
        "label2id": {"positive": 1, "negative": 0},
    }
    folder = write_names(tmp_path / "teacher", **names)
    message = (
        f"{folder / 'config.json'} has its labels in two orders: positive, negative in id2label, "
        "negative, positive in label2id. Correct the one that is wrong."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        load_teacher(folder, TASKS["classification"], ("negative", "positive"), needs_head=True)
    assert names_of_head(write_names(tmp_path / "silent", id2label=SILENT)) is None
