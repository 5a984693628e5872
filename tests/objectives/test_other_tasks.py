"""Losses of numbers, of several labels, of words and of questions with choices."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from pipeline.core.settings import parse_section
from pipeline.objectives.chosen import ObjectivesSettings
from pipeline.objectives.objective import BatchCounts, LossInputs, StudentOutputs, TeacherSignals
from pipeline.objectives.weighted_sum import WeightedSum
from pipeline.tasks.predictions import arrange, targets_of
from pipeline.tasks.task import BY_TOKEN, Unit
from pipeline.text.tokens import TokenSplit
from tests.compared import make_models
from tests.objectives.cases import Case as MadeCase
from tests.objectives.cases import Student, Teacher
from tests.tasks.made_splits import CHOICES, SEVERAL, UNITS, WORDS, flat_logits

DISTANCES: dict[str, dict[str, Any]] = {
    "forward": {"direction": "forward"},
    "reverse": {"direction": "reverse"},
    "jensen_shannon": {"direction": "jensen_shannon"},
    "l1": {"distance": "l1"},
    "l2": {"distance": "l2"},
}
FLOAT32 = 2e-6  # a few dozen roundings of 6e-8 each, as the losses are computed in float32


def make_sum(objectives: dict[str, Any]) -> WeightedSum:
    return WeightedSum(parse_section(ObjectivesSettings, objectives, "a"), make_models())


class Case:
    """A made-up student and teacher of one of UNITS."""

    def __init__(self, name: str) -> None:
        self.unit: Unit
        self.split: TokenSplit
        self.unit, self.split = UNITS[name]
        flat = flat_logits(self.unit, self.split)
        width = 1 if name == "number" else flat.shape[1]
        self.width = width
        self.student = (3 * flat[:, :width]).clone().requires_grad_()
        self.numbers = torch.arange(len(flat))[:, None]

    def batch(self, examples: list[int], whole: list[int] | None = None) -> LossInputs:
        """Return what objectives see of some examples; the teacher's logits are other numbers.

        `whole` is the batch that they are a part of.
        """
        chosen = np.array(examples, dtype=np.int64)
        targets = targets_of(self.split, chosen, self.unit)
        places = None if targets.places is None else torch.from_numpy(targets.places)
        rows = self.split.rows_of(chosen).tolist()
        at = self.flat_numbers(rows)
        teacher = torch.cos(self.student.detach() * 5) * 2
        ours, theirs = (
            arrange(values[at], self.unit, places) for values in (self.student, teacher)
        )
        mask = torch.ones(len(rows), 1, dtype=torch.bool)
        labels = torch.from_numpy(targets.labels)
        batch = np.array(examples if whole is None else whole, dtype=np.int64)
        counts = BatchCounts.of(targets_of(self.split, batch, self.unit))
        student = StudentOutputs(ours, {"token": mask})
        return LossInputs(student, TeacherSignals(theirs), labels, counts)

    def flat_numbers(self, rows: list[int]) -> Tensor:
        if self.unit not in BY_TOKEN:
            return torch.tensor(rows, dtype=torch.int64)
        offsets = self.split.offsets
        return torch.cat(
            [torch.arange(0), *(torch.arange(offsets[r], offsets[r + 1]) for r in rows)]
        )

    def everything(self) -> list[int]:
        return list(range(self.split.n_examples))


def loss_of(objectives: dict[str, Any], case: Case, parts: list[list[int]]) -> tuple[float, Tensor]:
    """Return the total of all parts of one batch, and its gradient in the student's logits."""
    total = make_sum(objectives)
    whole = [example for part in parts for example in part]
    value = torch.zeros(())
    for part in parts:
        value = value + total(case.batch(part, whole))[0]
    (gradient,) = torch.autograd.grad(value, case.student)
    return value.item(), gradient


def hard_label_by_loops(name: str, case: Case) -> Tensor:
    """Return the loss on labels in float64, from the definition."""
    batch = case.batch(case.everything())
    labels, logits = batch.labels, batch.student.logits.double()
    terms = []
    for own, label in zip(logits, labels.tolist(), strict=True):
        if name == "number":
            if label == label:  # a number
                terms.append((own[0] - label) ** 2)
        elif label >= 0:
            real = own[own > -1e3]
            terms.append(-(real - real.logsumexp(0))[label])
    assert len(terms) in range(2, 20)
    return torch.stack(terms).mean()


@pytest.mark.parametrize("name", UNITS)
def test_hard_labels_are_those_of_the_definition(name: str) -> None:
    """Catches unlabelled predictions that are learned or counted, and an error that is halved."""
    case = Case(name)
    value, gradient = loss_of({"hard_label": {}}, case, [case.everything()])
    expected = hard_label_by_loops(name, case)
    (wanted,) = torch.autograd.grad(expected, case.student)
    assert value == pytest.approx(expected.item(), rel=FLOAT32)
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-6)
    assert gradient.abs().max() > 0.01


def test_several_labels_have_the_mean_binary_cross_entropy() -> None:
    """Catches labels of one row that compete, or a mean over rows in the place of labels."""
    case = Case("label")
    value, _ = loss_of({"hard_label": {}}, case, [case.everything()])
    known = [row for row in case.everything() if SEVERAL.labels[3 * row] >= 0]
    labels = torch.from_numpy(SEVERAL.labels.reshape(-1, 3)[known]).double()
    expected = binary_cross_entropy_with_logits(case.student[known].double(), labels)
    assert value == pytest.approx(expected.item(), rel=FLOAT32)


def soft_target_by_loops(case: Case, of: str, temperature: float) -> Tensor:
    """Return the mean over predictions of the distance between their real classes, in float64."""
    batch = case.batch(case.everything())
    student, teacher = batch.student, batch.teacher
    assert teacher.logits is not None
    terms = []
    for number, (own, their) in enumerate(zip(student.logits, teacher.logits, strict=True)):
        n_real = CHOICES[number] if case.unit == "choice" else len(own)
        q, p = (log_softmax(one[:n_real].double() / temperature, 0) for one in (own, their))
        m = ((p.exp() + q.exp()) / 2).log()
        forward, reverse = (p.exp() * (p - q)).sum(), (q.exp() * (q - p)).sum()
        halves = (p.exp() * (p - m)).sum() + (q.exp() * (q - m)).sum()
        terms.append(
            {
                "forward": temperature**2 * forward,
                "reverse": temperature**2 * reverse,
                "jensen_shannon": temperature**2 * halves / 2,
                "l1": temperature * (p.exp() - q.exp()).abs().sum(),
                "l2": temperature**2 * (p.exp() - q.exp()).square().sum(),
            }[of]
        )
    return torch.stack(terms).mean()


@pytest.mark.parametrize("temperature", [0.5, 4.0, 20.0])
@pytest.mark.parametrize("of", DISTANCES)
@pytest.mark.parametrize("name", ["label", "token", "choice"])
def test_soft_targets_are_those_of_real_classes(name: str, of: str, temperature: float) -> None:
    """Catches absent choices that count, or whose gradient is not a number."""
    case = Case(name)
    objectives = {"soft_target": {"temperature": temperature, **DISTANCES[of]}}
    value, gradient = loss_of(objectives, case, [case.everything()])
    expected = soft_target_by_loops(case, of, temperature)
    (wanted,) = torch.autograd.grad(expected, case.student)
    # T^2 times a difference of logarithms, each rounded to float32.
    assert value == pytest.approx(expected.item(), rel=1e-5, abs=temperature**2 * 2**-22)
    torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-6 * temperature)
    assert gradient.abs().max() > 1e-3


def test_logits_of_absent_choices_are_not_matched() -> None:
    """Catches a question that weighs less the more choices others have, and numbers that stand
    for absence, which are rounded where the student computes in 16 bits."""
    case = Case("choice")
    expected = []
    batch = case.batch(case.everything())
    student, teacher = batch.student, batch.teacher
    assert teacher.logits is not None
    for own, their, n in zip(student.logits, teacher.logits, CHOICES, strict=True):
        expected.append((own[:n].double() - their[:n]).square().mean())
    wanted = torch.stack(expected).mean()
    total = make_sum({"logit_match": {}})
    exact = total(batch)[0]
    assert exact.item() == pytest.approx(wanted.item(), rel=FLOAT32)
    in_16_bits = replace(student, logits=student.logits.bfloat16())
    rounded = total(replace(batch, student=in_16_bits))[0]
    assert rounded.item() == pytest.approx(wanted.item(), rel=2**-6)  # of squares of 8 bits


EVERY: dict[str, Any] = {
    "hard_label": {"weight": 0.5},
    "soft_target": {"weight": 0.7, "temperature": 2.0},
    "logit_match": {"weight": 0.3},
}
PARTS = {
    "row": [[0, 5], [2], [1, 3, 4, 6]],
    "number": [[2], [0, 5], [1, 3, 4, 6]],
    "label": [[2], [0, 5], [1, 3, 4, 6]],
    "token": [[2], [0], [6], [5, 1], [3, 4]],  # rows 2 and 6 have no word
    "choice": [[1], [2], [0]],
    "span": [[2], [0, 5], [1, 3, 4, 6]],
}


@pytest.mark.parametrize("name", UNITS)
def test_parts_add_up_to_their_batch(name: str) -> None:
    """Catches parts that count equally however many words or choices they have, and the losses
    of a part without any word, which are no numbers."""
    objectives = {key: EVERY[key] for key in EVERY if name != "number" or key != "soft_target"}
    case = Case(name)
    parts = PARTS[name]
    joined = [example for part in parts for example in part]
    assert sorted(joined) == case.everything()
    whole, gradient = loss_of(objectives, case, [joined])
    value, summed = loss_of(objectives, case, parts)
    assert value == pytest.approx(whole, rel=FLOAT32)
    torch.testing.assert_close(summed, gradient, rtol=1e-5, atol=1e-7)
    assert gradient.abs().max() > 0.01


@pytest.mark.parametrize("objective", [*EVERY, *DISTANCES])
def test_a_batch_without_a_word_teaches_nothing(objective: str) -> None:
    """Catches a mean over nothing, which is not a number and ends the training."""
    case = Case("token")
    assert (WORDS.labels_of(np.array([2, 6])) == -100).all()
    settings = {objective: {}} if objective in EVERY else {"soft_target": DISTANCES[objective]}
    value, gradient = loss_of(settings, case, [[2, 6]])
    assert value == 0 and not gradient.any()


def test_rows_of_few_predictions_are_still_compared() -> None:
    """Catches a batch of rows that counts as one because it has one word, or one question."""
    similarity = make_sum({"similarity": {"layer_map": [[1, 2]], "kernel": "rbf"}})
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 4, 6, generator=generator)

    def loss(n_rows: int, n_predictions: int) -> float:
        mask = torch.ones(n_rows, 1, dtype=torch.bool)
        student = Student(torch.zeros(n_predictions, 3), mask, cls={1: states[0, :n_rows]})
        labels = torch.zeros(n_predictions, dtype=torch.int64)
        case = MadeCase(student, Teacher(cls={2: states[1, :n_rows]}), labels, {}, {})
        return float(similarity(case.inputs())[0])

    assert loss(4, 1) == loss(4, 4) == loss(4, 9) > 0
    assert loss(1, 5) == 0
