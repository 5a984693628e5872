"""Logit matching against its formula, and as the limit of soft targets."""

from dataclasses import replace

import pytest
import torch

from pipeline.objectives.needs import Needs
from pipeline.objectives.settings import LogitMatchSettings, SoftTargetSettings
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array
from tests.objectives.cases import (
    MODELS,
    N_LABELS,
    Case,
    MakeCase,
    check_ignores_padding,
    check_micro_batches,
    gradients,
    value_of,
)

LOGIT_MATCH = LogitMatchSettings().build(MODELS)


def reference(case: Case) -> float:
    assert case.teacher.logits is not None
    total = 0.0
    for ours, theirs in zip(
        case.student.logits.tolist(), case.teacher.logits.tolist(), strict=True
    ):
        for student, teacher in zip(ours, theirs, strict=True):
            total += (student - teacher) ** 2
    return total / case.student.logits.numel()


def test_equals_the_formula(make_case: MakeCase) -> None:
    """Catches a sum over labels, or probabilities in place of logits."""
    case = make_case()
    # 18 positive terms, each rounded a few times to 24 bits.
    assert value_of(LOGIT_MATCH, case) == pytest.approx(reference(case), rel=18 * 2**-24)
    assert reference(case) > 1


def test_is_zero_at_equality(make_case: MakeCase) -> None:
    """Catches a loss whose minimum is not at the teacher."""
    case = make_case(is_equal=True)
    assert value_of(LOGIT_MATCH, case) == 0
    assert not gradients(LOGIT_MATCH, case)[0].any()
    assert gradients(LOGIT_MATCH, make_case())[0].all()


def test_is_what_soft_targets_become_at_a_high_temperature(make_case: MakeCase) -> None:
    """Catches a factor between the two, which would change what their weights mean."""
    case = make_case()
    assert case.teacher.logits is not None
    centred = case.student.logits.detach() - case.student.logits.detach().mean(1, keepdim=True)
    case = replace(
        case,
        student=replace(case.student, logits=centred.requires_grad_()),
        teacher=replace(
            case.teacher,
            logits=case.teacher.logits - case.teacher.logits.mean(1, keepdim=True),
        ),
    )
    soft = gradients(SoftTargetSettings(temperature=1000.0).build(MODELS), case)[0]
    match = gradients(LOGIT_MATCH, case)[0]
    # d soft = (z_s - z_t) / (rows labels), d match = 2 (z_s - z_t) / (rows labels). What is
    # left is of the order of logit / T = 0.5 %; float32 adds T 6e-8 / rows = 1e-5.
    torch.testing.assert_close(soft, match / 2, rtol=0.01, atol=1e-4)
    assert N_LABELS == 3 and match.abs().max() > 0.1


def test_ignores_padding(make_case: MakeCase) -> None:
    """Catches a mean over positions that are not there."""
    check_ignores_padding(LOGIT_MATCH, make_case())


@pytest.mark.parametrize("n_parts", [2, 3, 6])
def test_micro_batches_give_the_gradient_of_the_batch(make_case: MakeCase, n_parts: int) -> None:
    """Catches a sum over rows in place of a mean."""
    check_micro_batches(LOGIT_MATCH, make_case(), n_parts)


def test_reads_the_logits_alone() -> None:
    """Catches a student for which attention maps or states are read in vain."""
    assert LogitMatchSettings().needs(MODELS) == Needs(teacher=frozenset({Array(LOGITS)}))
