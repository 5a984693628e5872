"""Weights and temperatures that change: their course, and what is refused."""

from typing import Any

import pytest
import torch

from pipeline.core.errors import SettingsError
from pipeline.core.settings import parse_section
from pipeline.objectives.chosen import ObjectivesSettings
from pipeline.objectives.linear import LinearTemperature, LinearWeight, value_at
from pipeline.objectives.weighted_sum import WeightedSum
from tests.objectives.cases import MODELS, MakeCase


def course(*progress: float, **fields: float) -> list[float]:
    """Return the values of a changing weight at some shares of the updates."""
    weight = LinearWeight(**fields)
    return [value_at(weight, share) for share in progress]


def test_a_constant_stays() -> None:
    """Catches a constant that is taken for the start of something."""
    assert [value_at(0.3, share) for share in (0.0, 0.5, 1.0)] == [0.3, 0.3, 0.3]


def test_without_shares_it_moves_all_the_time() -> None:
    """Catches an end that the last update does not reach, or a course that is not straight."""
    assert course(0.0, 0.25, 0.5, 1.0, start=2.0, end=1.0) == [2.0, 1.75, 1.5, 1.0]
    temperature = LinearTemperature(start=1.0, end=5.0)
    assert [value_at(temperature, share) for share in (0.0, 0.75, 1.0)] == [1.0, 4.0, 5.0]


def test_it_moves_only_between_its_shares() -> None:
    """Catches values beyond start and end, and a course counted over the whole training."""
    shares = {"start": 0.0, "end": 4.0, "start_at": 0.25, "end_at": 0.75}
    assert course(0.0, 0.25, 0.375, 0.5, 0.75, 1.0, **shares) == [0, 0, 1, 2, 4, 4]


@pytest.mark.parametrize("at", [0.0, 0.3, 1.0])
def test_it_jumps_where_both_shares_are_one(at: float) -> None:
    """Catches a division by zero, and an update that belongs to neither or to both phases."""
    shares = {"start_at": at, "end_at": at}
    before, after = (
        course(0.0, 0.2999, 0.3, 0.3001, 1.0, start=start, end=1 - start, **shares)
        for start in (1.0, 0.0)
    )
    expected = {0.0: [0, 0, 0, 0, 0], 0.3: [1, 1, 0, 0, 0], 1.0: [1, 1, 1, 1, 0]}
    assert before == expected[at]
    assert [first + second for first, second in zip(before, after, strict=True)] == [1] * 5


def faults(objectives: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        parse_section(ObjectivesSettings, objectives, "o")
    return caught.value.faults


def test_impossible_courses_are_refused() -> None:
    """Catches a course that runs backwards, leaves the training, or is negative."""
    assert faults({"cls": {"weight": {"start": 1, "end": 0, "start_at": 0.6, "end_at": 0.5}}}) == (
        "o.cls.weight.end_at: 0.5 is before start_at, 0.6; exchange them",
    )
    assert faults({"soft_target": {"temperature": {"start": 1, "end": 2, "end_at": 1.5}}}) == (
        "o.soft_target.temperature.end_at: should be less than or equal to 1, got 1.5",
    )
    assert faults({"soft_target": {"weight": {"start": -1, "end": 2, "start_at": -0.5}}}) == (
        "o.soft_target.weight.start: should be greater than or equal to 0, got -1",
        "o.soft_target.weight.start_at: should be greater than or equal to 0, got -0.5",
    )
    assert faults({"soft_target": {"temperature": {"start": 0, "end": 2}}}) == (
        "o.soft_target.temperature.start: should be greater than 0, got 0",
    )


def test_two_phases_are_two_sets_of_objectives(make_case: MakeCase) -> None:
    """Catches a phase in which the other's objectives still have a gradient."""
    jump = {"start_at": 0.5, "end_at": 0.5}
    objectives = {
        "cls": {"weight": {"start": 1.0, "end": 0.0, **jump}},
        "soft_target": {"weight": {"start": 0.0, "end": 1.0, **jump}},
    }
    total = WeightedSum(parse_section(ObjectivesSettings, objectives, "o"), MODELS)
    assert gradients(total, make_case, 0.49) == (True, False)
    assert gradients(total, make_case, 0.5) == (False, True)


def gradients(total: WeightedSum, make_case: MakeCase, progress: float) -> tuple[bool, bool]:
    """Return whether [CLS] states have a gradient, and whether the logits do."""
    case = make_case()
    loss, _ = total(case.inputs(progress))
    assert torch.isfinite(loss)
    by_states, by_logits = torch.autograd.grad(loss, [case.student.cls[1], case.student.logits])
    return bool(by_states.any()), bool(by_logits.any())
