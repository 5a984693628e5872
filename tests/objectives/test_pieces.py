"""Losses of word pieces: over the whole vocabulary, and in the classes of a teacher."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pipeline.core.errors import SettingsError
from pipeline.core.settings import parse_section
from pipeline.objectives.chosen import ObjectivesSettings
from pipeline.objectives.objective import LossInputs, StudentOutputs, TeacherSignals
from pipeline.objectives.weighted_sum import WeightedSum
from pipeline.signals.models import Models
from pipeline.signals.signal import Array
from pipeline.signals.top_logits import LOG_SUM_EXP, TARGET_LOGITS, TOP_LOGITS, TOP_PIECES
from pipeline.tasks import TASKS
from pipeline.tasks.pieces import teacher_classes
from tests.compared import make_models
from tests.objectives.cases import counts_of

N_PIECES, K = 30, 4
STORED = [
    Array(TOP_LOGITS, k=K),
    Array(TOP_PIECES, k=K),
    Array(LOG_SUM_EXP),
    Array(TARGET_LOGITS),
]
FLOAT32 = 2e-6  # a few dozen roundings of 6e-8 each, as the losses are computed in float32


def models() -> Models:
    return replace(make_models(captured=STORED), task=TASKS["masked_lm"])


class Case:
    """Logits of a student and a teacher for a few targets."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(3)
        self.student, self.teacher = 2 * torch.randn(2, 6, N_PIECES, generator=generator)
        self.labels = torch.randint(N_PIECES, (6,), generator=generator)
        values, self.pieces = self.teacher.topk(K)
        self.signals = TeacherSignals(
            teacher_classes(values, self.teacher.logsumexp(1)), pieces=self.pieces
        )

    def loss(self, student: Tensor, **objective: Any) -> Tensor:
        settings = parse_section(ObjectivesSettings, objective, "objectives")
        settings.needs(models())
        outputs = StudentOutputs(student, {"token": torch.ones(2, 3, dtype=torch.bool)})
        counts = counts_of(self.labels, n_rows=2)
        total, _ = WeightedSum(settings, models())(
            LossInputs(outputs, self.signals, self.labels, counts)
        )
        return total

    def probabilities(self, logits: Tensor) -> list[list[float]]:
        """Return the probabilities of the teacher's classes of each target, by plain loops."""
        found = []
        for row, kept in zip(logits.tolist(), self.pieces.tolist(), strict=True):
            total = sum(math.exp(value) for value in row)
            of_kept = [math.exp(row[piece]) / total for piece in kept]
            others = (math.exp(z) for piece, z in enumerate(row) if piece not in kept)
            found.append([*of_kept, sum(others) / total])
        return found


def test_the_soft_target_is_the_formula() -> None:
    """Catches a sum over the stored pieces alone, or over others than the teacher's."""
    case = Case()
    expected = 0.0
    ours, theirs = case.probabilities(case.student), case.probabilities(case.teacher)
    for q_row, p_row in zip(ours, theirs, strict=True):
        expected += sum(p * math.log(p / q) for p, q in zip(p_row, q_row, strict=True)) / 6
    loss = case.loss(case.student, soft_target={"temperature": 1.0})
    assert loss.item() == pytest.approx(expected, rel=FLOAT32 * 10)
    assert case.loss(case.teacher, soft_target={"temperature": 1.0}).item() < FLOAT32


def test_logits_are_matched_in_the_teachers_classes() -> None:
    """Catches a difference with the logits of other pieces."""
    case = Case()
    expected = 0.0
    for ours, theirs, kept in zip(
        case.student.tolist(), case.teacher.tolist(), case.pieces.tolist(), strict=True
    ):
        others = [piece for piece in range(N_PIECES) if piece not in kept]
        rests = [math.log(sum(math.exp(row[piece]) for piece in others)) for row in (ours, theirs)]
        errors = [(ours[piece] - theirs[piece]) ** 2 for piece in kept]
        expected += (sum(errors) + (rests[0] - rests[1]) ** 2) / (K + 1) / 6
    assert case.loss(case.student, logit_match={}).item() == pytest.approx(expected, rel=1e-5)
    assert case.loss(case.teacher, logit_match={}).item() < FLOAT32


def test_labels_are_among_all_pieces() -> None:
    """Catches labels that are looked up among the teacher's classes."""
    case = Case()
    expected = cross_entropy(case.student.double(), case.labels)
    loss = case.loss(case.student, hard_label={})
    assert loss.item() == pytest.approx(expected.item(), rel=FLOAT32)


@pytest.mark.parametrize("temperature", [2.0, {"start": 1.0, "end": 4.0}])
def test_a_temperature_is_refused_until_its_bias_is_accepted(temperature: Any) -> None:
    """Catches a softened rest that nobody was told of."""
    asked = {"soft_target": {"temperature": temperature}}
    with pytest.raises(SettingsError) as refused:
        parse_section(ObjectivesSettings, asked, "objectives").needs(models())
    (line,) = refused.value.faults
    assert "accept_top_k_bias: true" in line and "temperature: 1" in line
    asked["soft_target"]["accept_top_k_bias"] = True
    parse_section(ObjectivesSettings, asked, "objectives").needs(models())


def test_other_teachers_are_refused() -> None:
    """Catches an average over other pieces of each teacher."""
    asked = {"soft_target": {"temperature": 1.0, "other_teachers": {"b": 0.5}}}
    with pytest.raises(SettingsError, match="each has its own teacher's likeliest pieces"):
        parse_section(ObjectivesSettings, asked, "objectives").needs(models())


def test_the_largest_stored_k_is_read() -> None:
    """Catches the arrays of two captures mixed with each other."""
    smaller = [Array(TOP_LOGITS, k=2), Array(TOP_PIECES, k=2)]
    both = replace(models(), captured=frozenset([*STORED, *smaller]))
    assert both.logits == frozenset(STORED)
