"""Soft targets against plain formulas, and how they scale."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.core.errors import SettingsError
from pipeline.core.settings import parse_section
from pipeline.objectives.needs import Needs
from pipeline.objectives.objective import Objective
from pipeline.objectives.settings import SoftTargetSettings
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array
from tests.objectives.cases import (
    MODELS,
    N_LABELS,
    OTHER_STORES,
    Case,
    MakeCase,
    check_ignores_padding,
    check_micro_batches,
    gradients,
    loss_of,
    value_of,
)

PLACE = "students.a.objectives.soft_target"
FORMS = [
    {"distance": "kl", "direction": "forward"},
    {"distance": "kl", "direction": "reverse"},
    {"distance": "kl", "direction": "jensen_shannon"},
    {"distance": "l1"},
    {"distance": "l2"},
]
SHARES = {OTHER_STORES[0]: 0.5, OTHER_STORES[1]: 0.2}

each_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(form.values()))


def parse(**settings: Any) -> SoftTargetSettings:
    return parse_section(SoftTargetSettings, settings, PLACE)


def soft_target(**settings: Any) -> Objective:
    return parse(**settings).build(MODELS)


def softmax(logits: list[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in logits]
    return [power / sum(powers) for power in powers]


def kl(of: list[float], to: list[float]) -> float:
    return sum(p * (math.log(p) - math.log(q)) for p, q in zip(of, to, strict=True))


def distance(p: list[float], q: list[float], t: float, form: dict[str, str]) -> float:
    """Return the distance of the teacher's p and the student's q at temperature t."""
    if form["distance"] == "l1":
        return t * sum(abs(a - b) for a, b in zip(p, q, strict=True))
    if form["distance"] == "l2":
        return t**2 * sum((a - b) ** 2 for a, b in zip(p, q, strict=True))
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    return (
        t**2
        * {
            "forward": kl(p, q),
            "reverse": kl(q, p),
            "jensen_shannon": (kl(p, middle) + kl(q, middle)) / 2,
        }[form["direction"]]
    )


def reference(case: Case, t: float, form: dict[str, str], **shares: float) -> float:
    """Average over rows; `shares` are of other teachers, and the rest is the own teacher's."""
    assert case.teacher.logits is not None
    ours, theirs = case.student.logits.tolist(), case.teacher.logits.tolist()
    total = 0.0
    for row in range(len(ours)):
        p = [(1 - sum(shares.values())) * value for value in softmax(theirs[row], t)]
        for store, share in shares.items():
            other = softmax(case.teacher.other_logits[store][row].tolist(), t)
            p = [value + share * more for value, more in zip(p, other, strict=True)]
        total += distance(p, softmax(ours[row], t), t, form)
    return total / len(ours)


def rounding(temperature: float) -> float:
    """Each of 3 logarithms, up to 8 in size at T = 0.5, is rounded to 24 bits."""
    return temperature**2 * 3 * 8 * 2**-24


@each_form
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_equals_the_formula(make_case: MakeCase, temperature: float, form: dict[str, str]) -> None:
    """Catches a mean over labels, a swapped direction, or a temperature on one model only."""
    case = make_case()
    expected = reference(case, temperature, form)
    found = value_of(soft_target(temperature=temperature, **form), case)
    assert found == pytest.approx(expected, abs=rounding(temperature))
    assert expected > 0.02


def test_directions_differ(make_case: MakeCase) -> None:
    """Is the negative control of the one above: one direction in the place of another."""
    case = make_case()
    values = sorted(value_of(soft_target(**form), case) for form in FORMS)
    assert all(b - a > 100 * rounding(4.0) for a, b in pairwise(values))


@each_form
def test_is_zero_at_equality(make_case: MakeCase, form: dict[str, str]) -> None:
    """Catches a cross-entropy that keeps the teacher's entropy."""
    objective = soft_target(temperature=4.0, **form)
    assert abs(value_of(objective, make_case(is_equal=True))) <= rounding(4.0)
    assert value_of(objective, make_case()) > 0.1


@pytest.mark.parametrize("form", [form for form in FORMS if form["distance"] != "l1"])
def test_gradient_is_zero_at_equality(make_case: MakeCase, form: dict[str, str]) -> None:
    """Catches a loss whose minimum is not at the teacher (l1 has a corner there)."""
    objective = soft_target(temperature=4.0, **form)
    largest = max(part.abs().max() for part in gradients(objective, make_case()))
    at_equality = gradients(objective, make_case(is_equal=True))
    # T^2 times the rounding of a probability over T, over 6 rows.
    assert max(float(part.abs().max()) for part in at_equality) < 4 * 2**-23
    assert float(largest) > 0.01


def limit(case: Case, form: dict[str, str]) -> Tensor:
    """Return the gradient by the student's logits as the temperature goes to infinity.

    There p - q is (d - mean d) / (labels T) with d the difference of the logits.
    """
    assert case.teacher.logits is not None
    difference = case.student.logits.detach().double() - case.teacher.logits.double()
    difference = difference - difference.mean(1, keepdim=True)
    if form["distance"] == "l1":
        signs = difference.sign()
        return (signs - signs.mean(1, keepdim=True)) / N_LABELS / len(difference)
    factor = {"forward": 1.0, "reverse": 1.0, "jensen_shannon": 0.25}
    share = 2 / N_LABELS if form["distance"] == "l2" else factor[form["direction"]]
    return share * difference / N_LABELS / len(difference)


@each_form
def test_gradient_keeps_its_size_as_temperature_grows(
    make_case: MakeCase, form: dict[str, str]
) -> None:
    """Catches a lost or wrong power of T, by which 10 and 1000 differ 100 times or more."""
    case = make_case()
    expected = limit(case, form)
    found = {
        t: gradients(soft_target(temperature=t, **form), case)[0].double()
        for t in (1.0, 10.0, 100.0, 1000.0)
    }
    # Logits are up to 6 in size, so the next term of the series in 1 / T is 6 / T of a gradient.
    # float32 adds T times the rounding of a few probabilities, over 6 rows.
    for t in (100.0, 1000.0):
        torch.testing.assert_close(
            found[t], expected, rtol=0, atol=float(expected.abs().max()) * 6 / t + t * 2**-24
        )
    sizes = [float(gradient.norm() / expected.norm()) for gradient in found.values()]
    assert all(1 / 3 < size < 3 for size in sizes), sizes


@pytest.mark.parametrize(("progress", "temperature"), [(0.0, 8.0), (0.5, 5.0), (1.0, 2.0)])
def test_temperature_anneals(make_case: MakeCase, progress: float, temperature: float) -> None:
    """Catches a temperature that stays at the start, or a progress that is not used."""
    case = make_case()
    objective = soft_target(temperature={"start": 8.0, "end": 2.0})
    found = loss_of(objective, case, progress=progress)
    assert torch.equal(found, loss_of(soft_target(temperature=temperature), case))


@each_form
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_several_teachers_are_averaged_as_probabilities(
    make_case: MakeCase, temperature: float, form: dict[str, str]
) -> None:
    """Catches an average of logits, shares of the wrong store, or an own share of one."""
    case = make_case()
    expected = reference(case, temperature, form, **SHARES)
    objective = soft_target(temperature=temperature, other_teachers=SHARES, **form)
    assert value_of(objective, case) == pytest.approx(expected, abs=rounding(temperature))
    assert abs(expected - reference(case, temperature, form)) > 0.01


def test_another_teacher_like_the_own_changes_nothing(make_case: MakeCase) -> None:
    """Catches shares that do not add up to one."""
    case = make_case()
    assert case.teacher.logits is not None
    like_the_own = replace(case.teacher, other_logits={OTHER_STORES[0]: case.teacher.logits})
    alone = value_of(soft_target(), case)
    objective = soft_target(other_teachers={OTHER_STORES[0]: 0.25})
    both = value_of(objective, replace(case, teacher=like_the_own))
    assert both == pytest.approx(alone, abs=rounding(4.0)) and alone > 0.1
    assert abs(value_of(objective, case) - alone) > 0.01


@pytest.mark.parametrize(
    ("shares", "total"), [({"a": 0.5, "b": 0.5}, "1"), ({"a": 0.75, "b": 0.5}, "1.25")]
)
def test_refuses_shares_that_leave_nothing(shares: dict[str, float], total: str) -> None:
    """Catches the logarithm of a share of zero, or a negative one."""
    with pytest.raises(SettingsError) as raised:
        parse(other_teachers=shares)
    (fault,) = raised.value.faults
    assert fault.startswith(f"{PLACE}.other_teachers: ")
    assert fault.endswith(
        f"the shares add up to {total}; leave some of 1 to the student's own teacher"
    )


@each_form
def test_ignores_padding(make_case: MakeCase, form: dict[str, str]) -> None:
    """Catches a mean over positions that are not there."""
    check_ignores_padding(soft_target(**form), make_case())


@each_form
@pytest.mark.parametrize("n_parts", [2, 3, 6])
def test_micro_batches_give_the_gradient_of_the_batch(
    make_case: MakeCase, form: dict[str, str], n_parts: int
) -> None:
    """Catches a sum over rows in place of a mean."""
    check_micro_batches(soft_target(other_teachers=SHARES, **form), make_case(), n_parts)


def test_reads_logits_alone() -> None:
    """Catches a student for which attention maps or states are read in vain."""
    logits = frozenset({Array(LOGITS)})
    assert SoftTargetSettings().needs(MODELS) == Needs(teacher=logits)
    assert parse(other_teachers=SHARES).needs(MODELS) == Needs(
        teacher=logits, other_stores=frozenset(OTHER_STORES)
    )


def test_refuses_a_temperature_of_zero() -> None:
    """Catches a division by zero found after the first batch."""
    with pytest.raises(SettingsError) as raised:
        parse(temperature=0)
    assert raised.value.faults == (f"{PLACE}.temperature: should be greater than 0, got 0",)
