"""Soft targets against the formula of Hinton et al., and how they scale."""

import math

import pytest
import torch

from pipeline.errors import SettingsError
from pipeline.objectives.objective import Needs
from pipeline.objectives.soft_target import SoftTargetSettings
from pipeline.settings import parse_section
from pipeline.store.spec import ArraySpec
from tests.objectives.conftest import (
    MODELS,
    Case,
    MakeCase,
    check_ignores_padding,
    check_micro_batches,
    gradients,
    value_of,
)


def soft_target(temperature: float) -> torch.nn.Module:
    return SoftTargetSettings(temperature=temperature).build(MODELS)


def softmax(logits: list[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in logits]
    return [power / sum(powers) for power in powers]


def reference(case: Case, temperature: float) -> float:
    assert case.teacher.logits is not None
    total = 0.0
    rows = list(zip(case.student.logits.tolist(), case.teacher.logits.tolist(), strict=True))
    for ours, theirs in rows:
        student, teacher = softmax(ours, temperature), softmax(theirs, temperature)
        for q, p in zip(student, teacher, strict=True):
            total += p * (math.log(p) - math.log(q))
    return temperature**2 * total / len(rows)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_equals_the_formula(make_case: MakeCase, temperature: float) -> None:
    """Catches a mean over labels, a swapped direction, or a temperature on one model only."""
    case = make_case()
    expected = reference(case, temperature)
    found = value_of(soft_target(temperature), case)
    # Each of 3 logarithms, up to 8 in size at T = 0.5, is rounded to 24 bits.
    assert found == pytest.approx(expected, abs=temperature**2 * 3 * 8 * 2**-24)
    assert expected > 0.1


def test_is_zero_at_equality(make_case: MakeCase) -> None:
    """Catches a cross-entropy that keeps the teacher's entropy."""
    assert value_of(soft_target(4.0), make_case(is_equal=True)) == 0
    assert value_of(soft_target(4.0), make_case()) > 0.1


def test_gradient_is_zero_at_equality(make_case: MakeCase) -> None:
    """Catches a loss whose minimum is not at the teacher."""
    largest = max(part.abs().max() for part in gradients(soft_target(4.0), make_case()))
    at_equality = gradients(soft_target(4.0), make_case(is_equal=True))
    # T^2 times the rounding of a probability over T, over 6 rows.
    assert max(float(part.abs().max()) for part in at_equality) < 4 * 2**-23
    assert float(largest) > 0.01


def test_gradient_keeps_its_size_as_temperature_grows(make_case: MakeCase) -> None:
    """Catches a lost T^2, without which the gradient at 32 is 64 times that at 4 smaller."""
    case = make_case()
    warm, hot = (gradients(soft_target(t), case)[0].norm() for t in (4.0, 32.0))
    # Both are near the limit (z_s - z_t) / labels, from which T = 4 still differs somewhat.
    assert 0.7 < float(hot / warm) < 1.4


def test_ignores_padding(make_case: MakeCase) -> None:
    """Catches a mean over positions that are not there."""
    check_ignores_padding(soft_target(4.0), make_case())


@pytest.mark.parametrize("n_parts", [2, 3, 6])
def test_micro_batches_give_the_gradient_of_the_batch(make_case: MakeCase, n_parts: int) -> None:
    """Catches a sum over rows in place of a mean."""
    check_micro_batches(soft_target(4.0), make_case(), n_parts)


def test_reads_the_logits_alone() -> None:
    """Catches a student for which attention maps or states are read in vain."""
    needs = SoftTargetSettings().needs(MODELS)
    assert needs == Needs(teacher=frozenset({ArraySpec("logits")}))


def test_refuses_a_temperature_of_zero() -> None:
    """Catches a division by zero found after the first batch."""
    with pytest.raises(SettingsError) as raised:
        parse_section(SoftTargetSettings, {"temperature": 0}, "students.a.objectives.soft_target")
    assert raised.value.faults == (
        "students.a.objectives.soft_target.temperature: should be greater than 0, got 0",
    )
