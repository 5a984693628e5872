"""The labelled examples of every kind of task, as Transformers' `Trainer` learns from them."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.core.checkpoint import load_tokenizer
from pipeline.metrics import METRICS
from pipeline.tasks import TASKS, task_of
from pipeline.tasks.multiple_choice import logits_of_questions, loss_of_questions
from pipeline.tasks.predictions import ABSENT
from pipeline.tasks.question_answering import loss_of_spans
from pipeline.tasks.task import BY_TOKEN, Kind
from pipeline.teacher.finetune import METRICS_NAME, finetune
from pipeline.teacher.finetune_settings import TeacherSettings
from pipeline.teacher.labelled_examples import Collator, LabelledExamples
from pipeline.text.tokens import IGNORED, Tokens
from tests.tasks.conftest import MakeSmall
from tests.tasks.small_tasks import KINDS, N_TRAIN, head_of

LABELS_OF_ROWS = torch.tensor([[0, 0], [0, 1], [1, 1], [2, 0], [2, 0], [2, 1], [2, 0]])
"""Three questions of two, one and four choices: which question, and whether it is right."""


def examples_of(kind: Kind, tokens: Tokens) -> LabelledExamples:
    return LabelledExamples(tokens.splits["train"], TASKS[kind])


UNLABELLED = (7, 18, 29)


def known_of(tokens: Tokens) -> list[int]:
    """Return the labelled examples; masks need no label, so that every window has some."""
    split = tokens.splits["train"]
    if task_of(tokens).masks:
        return list(range(len(split)))
    assert split.n_examples == N_TRAIN
    return [number for number in range(N_TRAIN) if number not in UNLABELLED]


def test_the_loss_of_questions_is_that_of_a_plain_loop() -> None:
    """Catches a softmax over choices of other questions, or over choices that are not there."""
    logits = torch.randn(7, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    arranged = logits_of_questions(logits, LABELS_OF_ROWS)
    values = logits.float()[:, 0].tolist()
    none = ABSENT
    assert arranged.tolist() == [
        [*values[:2], none, none],
        [values[2], none, none, none],
        values[3:],
    ]
    expected = 0.0
    for question, right in ((values[:2], 1), (values[2:3], 0), (values[3:], 2)):
        total = sum(math.exp(value) for value in question)
        expected -= math.log(math.exp(question[right]) / total) / 3
    loss = loss_of_questions({"logits": logits}, LABELS_OF_ROWS)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_the_loss_of_spans_is_that_of_a_plain_loop() -> None:
    """Catches padding that an answer may begin with, and a mean that counts one end twice."""
    logits = torch.randn(2, 4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([[1, 2, 4], [0, 1, 2]])  # first token, last token, how many
    expected = 0.0
    for row, (first, last, length) in enumerate(labels.tolist()):
        for side, right in enumerate((first, last)):
            own = logits[row, :length, side].float().tolist()
            expected -= math.log(math.exp(own[right]) / sum(map(math.exp, own))) / 4
    assert loss_of_spans({"logits": logits}, labels).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_hold_the_labels_of_their_rows(kind: Kind, small: MakeSmall) -> None:
    """Catches unlabelled examples that are learned, and labels of other rows, words or choices."""
    tokens = small(kind).tokens
    split, task = tokens.splits["train"], TASKS[kind]
    examples = examples_of(kind, tokens)
    known = known_of(tokens)
    assert len(examples) == len(known)
    collate = Collator(task, load_tokenizer(small(kind).teacher))
    batch = collate([examples[known.index(number)] for number in (8, 3, 31)])
    rows = [r for n in (8, 3, 31) for r in range(split.first_rows[n], split.first_rows[n + 1])]
    assert batch["input_ids"].shape == (len(rows), max(split.lengths[rows]))
    for place, row in enumerate(rows):
        ids = batch["input_ids"][place][batch["attention_mask"][place].bool()]
        assert ids.tolist() == split.row(row)[0].tolist()
    own = [split.labels[split.label_offsets[r] : split.label_offsets[r + 1]].tolist() for r in rows]
    found = batch["labels"]
    if task.predicts == "token":
        longest = batch["input_ids"].shape[1]
        expected = [labels + [IGNORED] * (longest - len(labels)) for labels in own]
        assert any(label >= 0 for labels in own for label in labels)
    elif task.predicts == "piece":
        most = max(map(len, own))
        expected = [labels + [IGNORED] * (most - len(labels)) for labels in own]
        assert most > min(map(len, own)) or kind == "masked_lm"
    elif task.predicts == "span":
        expected = [[*ends, split.lengths[row]] for ends, row in zip(own, rows, strict=True)]
    elif task.predicts == "choice":
        questions = [place for place, n in enumerate((8, 3, 31)) for _ in range(1 + n % 4)]
        expected = [[question, *label] for question, label in zip(questions, own, strict=True)]
    else:
        expected = own if task.predicts == "label" else [label for (label,) in own]
    assert found.is_floating_point() == (kind in ("multi_label", "regression"))
    np.testing.assert_allclose(found.numpy(), np.array(expected), rtol=1e-7)  # float32


@pytest.mark.parametrize("kind", KINDS)
def test_padded_logits_come_back_to_their_places(kind: Kind, small: MakeSmall) -> None:
    """Catches scores of the teacher's words or choices against the labels of others."""
    tokens = small(kind).tokens
    split, task = tokens.splits["train"], TASKS[kind]
    examples = examples_of(kind, tokens)
    n_labels = 2 if task.predicts == "piece" else len(tokens.labels)
    starts = split.offsets if task.predicts in BY_TOKEN else split.first_rows
    starts = split.label_offsets if task.predicts == "piece" else starts
    n_flat = starts[-1]
    flat = np.random.default_rng(0).random((n_flat, n_labels)).astype(np.float32) + 1
    longest = int(np.diff(starts).max())
    parts, known = [], np.zeros(n_flat, bool)
    for example in known_of(tokens):
        own = flat[starts[example] : starts[example + 1]]
        known[starts[example] : starts[example + 1]] = True
        parts.append(np.pad(own, ((0, longest - len(own)), (0, 0)), constant_values=-100))
    padded = np.stack(parts)
    if task.predicts == "choice":
        padded = padded[:, :, 0]
    elif task.predicts not in BY_TOKEN and task.predicts != "piece":
        padded = padded[:, 0]
    np.testing.assert_array_equal(examples.flat(padded), np.where(known[:, None], flat, 0))
    assert 0 < known.sum() < n_flat or task.predicts == "piece"


@pytest.mark.parametrize("kind", KINDS)
def test_a_teacher_of_each_kind_is_fine_tuned(kind: Kind, small: MakeSmall, tmp_path: Path) -> None:
    """Catches a head, a loss or metrics of another task; and weights that do not move."""
    data = small(kind)
    before = head_of(data.task.auto_model.from_pretrained(data.teacher)).weight
    settings = TeacherSettings(
        checkpoint=str(data.teacher), epochs=1, batch_size=8, learning_rate=1e-3
    )
    folder = tmp_path / "teacher"
    metrics = finetune(
        data.teacher,
        data.tokens,
        data.task,
        settings,
        folder,
        inputs={"tokens": "0" * 64},
        device=torch.device("cpu"),
    )
    assert json.loads((folder / METRICS_NAME).read_text(encoding="utf-8")) == metrics
    scores = metrics["validation"]
    without_texts = {name for name in data.task.metrics if not METRICS[name].reads_texts}
    assert set(scores) == {*without_texts, "loss"}
    assert 0 < scores["loss"] < 20
    for name in set(scores) - {"loss"}:
        assert METRICS[name].fault(scores[name]) == ""
    model = data.task.auto_model.from_pretrained(folder)
    if data.tokens.labels:
        assert model.config.id2label == dict(enumerate(data.tokens.labels))
    assert (head_of(model).weight - before).abs().max() > 1e-4
