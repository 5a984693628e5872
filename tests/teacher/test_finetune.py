"""A teacher from a checkpoint, and the checkpoints that cannot be one."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertModel, Trainer

from pipeline.core.errors import CheckpointError, DataError
from pipeline.core.fingerprint import digest_folder, digest_tokenizer, digest_weights
from pipeline.core.stamp import STAMP_NAME, stamp_in
from pipeline.tasks import TASKS
from pipeline.teacher.finetune import METRICS_NAME, finetune
from pipeline.teacher.finetune_settings import TeacherSettings
from pipeline.text.tokens import Tokens, TokenSplit
from tests.conftest import BAD, GOOD, LABELS, PLAIN, make_checkpoint, make_tokenizer

INPUTS = {"tokens": "0" * 64}


def run(
    checkpoint: Path, tokens: Tokens, folder: Path, *, epochs: int, **options: Any
) -> dict[str, Any]:
    settings = TeacherSettings(
        checkpoint=str(checkpoint),
        epochs=epochs,
        **{"batch_size": 32, "learning_rate": 1e-3, **options},
    )
    return finetune(
        checkpoint,
        tokens,
        TASKS["classification"],
        settings,
        folder,
        inputs=INPUTS,
        device=torch.device("cpu"),
    )


def own_predictions(checkpoint: Path, split: TokenSplit) -> np.ndarray:
    """Return the predicted labels, row by row and without padding."""
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    labels = []
    for row in range(len(split)):
        ids = torch.from_numpy(split.row(row)[0].astype(np.int64))[None]
        with torch.no_grad():
            labels.append(int(model(ids).logits.argmax()))
    return np.array(labels)


def test_training_gives_a_teacher_with_its_metrics(
    tmp_path: Path, checkpoint: Path, tokens: Tokens
) -> None:
    """Catches metrics of another model than the saved one, or a folder without its record."""
    metrics = run(checkpoint, tokens, tmp_path / "teacher", epochs=1)
    folder = tmp_path / "teacher"
    assert digest_weights(folder) != digest_weights(checkpoint)
    assert json.loads((folder / METRICS_NAME).read_text(encoding="utf-8")) == metrics
    validation = tokens.splits["validation"]
    right = own_predictions(folder, validation) == validation.labels
    assert metrics["n_rows"] == 30
    assert metrics["validation"]["accuracy"] == pytest.approx(right.mean(), abs=1e-12)
    assert set(metrics["validation"]) == {*TASKS["classification"].metrics, "loss"}
    assert stamp_in(folder).holds(INPUTS)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert model.config.id2label == dict(enumerate(LABELS))
    assert digest_tokenizer(AutoTokenizer.from_pretrained(folder)) == tokens.tokenizer
    assert sorted(path.name for path in tmp_path.iterdir()) == ["teacher"]


def test_two_trainings_with_one_seed_are_alike(
    tmp_path: Path, checkpoint: Path, tokens: Tokens
) -> None:
    """Catches a teacher that nobody can make again: its head or its batches are not seeded."""
    save_base(tmp_path / "base", checkpoint)
    for name in ("one", "two"):
        torch.manual_seed(len(name))
        torch.rand(3)
        run(tmp_path / "base", tokens, tmp_path / name, epochs=1)
        torch.rand(7)
    assert digest_weights(tmp_path / "one") == digest_weights(tmp_path / "two")


def test_no_epochs_keep_the_checkpoint_as_it_is(
    tmp_path: Path, checkpoint: Path, tokens: Tokens
) -> None:
    """Catches a fine-tuned teacher that loses its head or is trained once more."""
    metrics = run(checkpoint, tokens, tmp_path / "teacher", epochs=0)
    assert digest_weights(tmp_path / "teacher") == digest_weights(checkpoint)
    validation = tokens.splits["validation"]
    right = own_predictions(checkpoint, validation) == validation.labels
    assert metrics["validation"]["accuracy"] == pytest.approx(right.mean(), abs=1e-12)
    assert stamp_in(tmp_path / "teacher").holds(INPUTS)


def save_base(folder: Path, checkpoint: Path) -> Path:
    """Save the checkpoint's encoder, without the head."""
    make_tokenizer(folder)
    BertModel.from_pretrained(checkpoint).save_pretrained(folder)
    return folder


def test_a_checkpoint_without_a_head_has_to_be_trained(
    tmp_path: Path, checkpoint: Path, tokens: Tokens
) -> None:
    """Catches a random head that teaches every student."""
    base = save_base(tmp_path / "base", checkpoint)
    message = (
        f"{base} lacks classifier.bias, classifier.weight: it is not fine-tuned for this task. "
        "Set teacher.epochs to 1 or more to fine-tune it."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        run(base, tokens, tmp_path / "teacher", epochs=0)
    assert not (tmp_path / "teacher").exists()


@pytest.mark.parametrize("epochs", [0, 1])
def test_another_number_of_labels_is_refused(tmp_path: Path, tokens: Tokens, epochs: int) -> None:
    """Catches a trained head that is dropped for a random one without a word."""
    other = make_checkpoint(tmp_path / "other", labels=("bad", "so-so", "good"))
    message = (
        f"{other} has a head for 3 labels, the data has 2 (negative, positive). Name a checkpoint "
        "that fits, or correct data.labels."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        run(other, tokens, tmp_path / "teacher", epochs=epochs)


def test_other_label_names_are_refused(tmp_path: Path, tokens: Tokens) -> None:
    """Catches a teacher of something else, whose answers are taken for the data's labels."""
    other = make_checkpoint(tmp_path / "other", labels=("bad", "good"))
    message = (
        f"{other} was trained with the labels bad, good, the data has negative, positive. Give "
        "the data's labels the teacher's names under data.labels."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        run(other, tokens, tmp_path / "teacher", epochs=0)


def test_label_names_that_say_nothing_need_an_order(tmp_path: Path, tokens: Tokens) -> None:
    """Catches LABEL_0, as many fine-tuned checkpoints have it, taken for what the alphabet puts
    first, and its refusal where the order is known."""
    other = make_checkpoint(tmp_path / "other", labels=("LABEL_0", "LABEL_1"))
    message = (
        f"{other} does not name its labels, and the data has negative, positive in no order but "
        "the alphabet's, so that nobody knows which output is which. List them under data.labels "
        "in the order of the teacher's outputs."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        run(other, tokens, tmp_path / "teacher", epochs=0)
    run(other, tokens, tmp_path / "trained", epochs=1)
    run(other, replace(tokens, is_alphabetic=False), tmp_path / "teacher", epochs=0)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "teacher")
    assert model.config.id2label == dict(enumerate(LABELS))


def test_another_tokenizer_is_refused(tmp_path: Path, tokens: Tokens) -> None:
    """Catches token ids that mean other words to this teacher."""
    other = make_checkpoint(tmp_path / "other")
    make_tokenizer(other, (*BAD, *GOOD, *PLAIN))
    found = digest_tokenizer(AutoTokenizer.from_pretrained(other))
    message = (
        f"{other} has tokenizer {found[:12]}, the token table was made with "
        f"{tokens.tokenizer[:12]}. Set tokenizer.checkpoint to the teacher's checkpoint."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        run(other, tokens, tmp_path / "teacher", epochs=1)


def test_pickled_weights_are_refused(tmp_path: Path, tokens: Tokens) -> None:
    """Catches a checkpoint that runs code when it is loaded."""
    other = make_checkpoint(tmp_path / "other")
    weights = other / "model.safetensors"
    torch.save(load_file(weights), other / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(CheckpointError, match=f"^{re.escape(str(other))} cannot be loaded: "):
        run(other, tokens, tmp_path / "teacher", epochs=0)
    with pytest.raises(CheckpointError, match=r"holds no \.safetensors file"):
        digest_weights(other)


def test_weights_in_half_precision_are_only_converted(
    tmp_path: Path, checkpoint: Path, tokens: Tokens
) -> None:
    """Catches a teacher that is computed with in half precision, or rounded once more."""
    half = make_checkpoint(tmp_path / "half")
    weights = load_file(half / "model.safetensors")
    save_file(
        {name: values.half() for name, values in weights.items()},
        half / "model.safetensors",
        metadata={"format": "pt"},
    )
    run(half, tokens, tmp_path / "teacher", epochs=0)
    kept = load_file(tmp_path / "teacher" / "model.safetensors")
    assert all(torch.equal(kept[name], values.half().float()) for name, values in weights.items())


def without_labels(tokens: Tokens, split: str) -> Tokens:
    rows = tokens.splits[split]
    return replace(
        tokens, splits={**tokens.splits, split: replace(rows, labels=np.full(len(rows), -1))}
    )


@pytest.mark.parametrize("split", ["train", "validation"])
def test_splits_without_labels_are_refused(
    tmp_path: Path, checkpoint: Path, tokens: Tokens, split: str
) -> None:
    """Catches a division by zero rows after the training."""
    message = (
        f"the {split} split has no labelled row; a teacher cannot be fine-tuned or judged without. "
        "Check data.columns.label."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        run(checkpoint, without_labels(tokens, split), tmp_path / "teacher", epochs=1)


def test_a_finished_teacher_needs_no_labelled_training_row(
    tmp_path: Path, checkpoint: Path, tokens: Tokens
) -> None:
    """Catches a refusal of unlabelled data, which is what a teacher is for."""
    run(checkpoint, without_labels(tokens, "train"), tmp_path / "teacher", epochs=0)


def test_an_interrupted_training_leaves_the_old_teacher(
    tmp_path: Path, checkpoint: Path, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches half a teacher under the final name, or one that is gone."""

    def interrupt(self: Trainer) -> None:
        raise KeyboardInterrupt

    folder = tmp_path / "teacher"
    monkeypatch.setattr(Trainer, "train", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint, tokens, folder, epochs=1)
    assert list(tmp_path.iterdir()) == []
    run(checkpoint, tokens, folder, epochs=0)
    before = digest_folder(folder)
    assert STAMP_NAME in before
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint, tokens, folder, epochs=1)
    assert digest_folder(folder) == before
    assert list(tmp_path.iterdir()) == [folder]


def with_labels(tokens: Tokens, split: str, labels: np.ndarray) -> Tokens:
    rows = replace(tokens.splits[split], labels=labels)
    return replace(tokens, splits={**tokens.splits, split: rows})


def own_loss(checkpoint: Path, split: TokenSplit) -> float:
    """Return the mean of -log p(label), row by row and without padding."""
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    losses = []
    for row in range(len(split)):
        ids = torch.from_numpy(split.row(row)[0].astype(np.int64))[None]
        with torch.no_grad():
            losses.append(float(-model(ids).logits[0].log_softmax(0)[split.labels[row]]))
    return float(np.mean(losses))


@pytest.mark.parametrize(("falls", "has_old_names"), [(True, False), (False, False), (False, True)])
def test_of_equal_scores_the_lowest_loss_is_kept(
    tmp_path: Path,
    tokens: Tokens,
    falls: bool,
    has_old_names: bool,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Catches a teacher of the first few steps, which is what Trainer keeps while accuracy stays
    the same; the last one kept though its loss is higher; and the best weights with LayerNorms of
    the last step, where the checkpoint has other names for these than the model.

    The teacher is all too sure that every text is positive, and learns that none is, which costs
    it less of the loss at each step; or that all are, which costs it more.
    """
    start = make_checkpoint(tmp_path / "start")
    weights = load_file(start / "model.safetensors")
    weights["classifier.bias"] = torch.tensor([0.0, 5.0])
    if has_old_names:
        old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        for name in [name for name in weights if "LayerNorm" in name]:
            stem = name.rpartition("LayerNorm.")[0]
            weights[stem + old[name.removeprefix(stem)]] = weights.pop(name)
    save_file(weights, start / "model.safetensors", metadata={"format": "pt"})
    taught = with_labels(tokens, "train", np.full(90, 0 if falls else 1))
    metrics = run(start, taught, tmp_path / "teacher", epochs=2, batch_size=8)
    found = re.findall(
        r"step (\d+) of 24: validation accuracy ([\d.]+), loss ([\d.]+)", said(capfd)
    )
    steps, scores, losses = zip(*found, strict=True)
    assert len(steps) == 4 and len(set(scores)) == 1 and len(set(losses)) > 1
    assert (losses == tuple(sorted(losses, reverse=falls))) and steps[-1] == "24"
    best = 24 if falls else int(steps[0])
    assert metrics["best_step"] == best
    # Sums of some 100 float32 terms, padded in batches there and not here.
    expected = own_loss(tmp_path / "teacher", tokens.splits["validation"])
    assert metrics["validation"]["loss"] == pytest.approx(expected, abs=1e-5)


def said(capfd: pytest.CaptureFixture[str]) -> str:
    return capfd.readouterr().err


@pytest.mark.parametrize(
    ("n_labelled", "options", "steps"),
    [
        (90, {"epochs": 1}, [6, 12]),
        (90, {"epochs": 3}, [6, 12, 18, 24, 30, 36]),
        (90, {"epochs": 3, "validations_per_epoch": 1}, [12, 24, 36]),
        (90, {"epochs": 3, "batch_size": 90}, [1, 2, 3]),
        (50, {"epochs": 1}, [7]),
        (16, {"epochs": 1}, [2]),
        (16, {"epochs": 5}, [5, 10]),
    ],
)
def test_validations_take_a_fifth_of_the_time(
    tmp_path: Path,
    checkpoint: Path,
    tokens: Tokens,
    capfd: pytest.CaptureFixture[str],
    n_labelled: int,
    options: dict[str, Any],
    steps: list[int],
) -> None:
    """Catches ten validations of 30 rows for 90 rows of training, more of them than the setting
    allows where the steps are no multiple of it, and weights of the last step without one.

    A validation of 30 rows costs as much as the training of 10, so there may be one for 40 rows.
    """
    labels = tokens.splits["train"].labels.copy()
    labels[n_labelled:] = -1
    some = with_labels(tokens, "train", labels)
    run(checkpoint, some, tmp_path / "teacher", **{"batch_size": 8, **options})
    found = re.findall(r"step (\d+) of (\d+): validation", said(capfd))
    assert [int(step) for step, _ in found] == steps
    assert {int(n_steps) for _, n_steps in found} == {steps[-1]}


def test_the_default_is_at_most_ten_validations_an_epoch(
    tmp_path: Path, checkpoint: Path, tokens: Tokens, capfd: pytest.CaptureFixture[str]
) -> None:
    """Catches more than ten: 38 steps were cut into twelve times three, and two."""
    labels = np.full(30, -1)
    labels[:2] = (0, 1)
    few = with_labels(tokens, "validation", labels)
    run(checkpoint, few, tmp_path / "teacher", epochs=1, batch_size=4)
    found = re.findall(r"step (\d+) of 23: validation", said(capfd))
    assert [int(step) for step in found] == [3, 6, 9, 12, 15, 18, 21, 23]
