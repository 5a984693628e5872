"""Cross-entropy over labelled rows, and rows without a label."""

import math
from dataclasses import replace

import pytest
import torch

from pipeline.objectives.needs import Needs
from pipeline.objectives.settings import HardLabelSettings
from tests.objectives.cases import (
    MODELS,
    Case,
    MakeCase,
    check_ignores_padding,
    check_micro_batches,
    gradients,
    loss_of,
    value_of,
)

HARD_LABEL = HardLabelSettings().build(MODELS)


def reference(case: Case) -> float:
    losses = []
    for logits, label in zip(case.student.logits.tolist(), case.labels.tolist(), strict=True):
        if label != -1:
            losses.append(math.log(sum(math.exp(value) for value in logits)) - logits[label])
    return sum(losses) / len(losses)


def with_labels(case: Case, *labels: int) -> Case:
    return replace(case, labels=torch.tensor(labels))


@pytest.mark.parametrize("labels", [(0, 2, 1, 1, 0, 2), (-1, 2, -1, -1, 0, 1), (-1,) * 5 + (2,)])
def test_equals_the_formula(make_case: MakeCase, labels: tuple[int, ...]) -> None:
    """Catches a mean that counts unlabelled rows, or takes -1 as the last label."""
    case = with_labels(make_case(), *labels)
    # Logits up to 6 in size, so a row's loss is rounded to 6 * 2^-24 a few times.
    assert value_of(HARD_LABEL, case) == pytest.approx(reference(case), abs=24 * 2**-24)
    assert reference(case) > 0.1


def test_unlabelled_rows_have_no_gradient(make_case: MakeCase) -> None:
    """Catches an unlabelled row that teaches the student some class."""
    gradient = gradients(HARD_LABEL, with_labels(make_case(), 0, -1, 1, -1, -1, 2))[0]
    assert not gradient[[1, 3, 4]].any()
    assert gradient[[0, 2, 5]].all()


def test_a_batch_without_labels_gives_zero(make_case: MakeCase) -> None:
    """Catches a division by zero rows, which turns every weight into NaN."""
    case = with_labels(make_case(), *[-1] * 6)
    assert value_of(HARD_LABEL, case) == 0
    assert all(torch.equal(part, torch.zeros_like(part)) for part in gradients(HARD_LABEL, case))


def test_does_not_look_at_the_teacher(make_case: MakeCase) -> None:
    """Catches a baseline that is distilled after all."""
    case, other = make_case(), make_case()
    expected = loss_of(HARD_LABEL, case)
    assert torch.equal(loss_of(HARD_LABEL, replace(case, teacher=other.teacher)), expected)
    assert HardLabelSettings().needs(MODELS) == Needs()


def test_ignores_padding(make_case: MakeCase) -> None:
    """Catches a mean over positions that are not there."""
    check_ignores_padding(HARD_LABEL, make_case())


@pytest.mark.parametrize("labels", [(0, 2, 1, 1, 0, 2), (0, -1, -1, 1, 2, -1)])
def test_micro_batches_give_the_gradient_of_the_batch(
    make_case: MakeCase, labels: tuple[int, ...]
) -> None:
    """Catches a sum over rows in place of a mean; each part has equally many labels."""
    check_micro_batches(HARD_LABEL, with_labels(make_case(), *labels), n_parts=3)
