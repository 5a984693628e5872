"""A number that is constant, or changes linearly in the course of a training."""

from pydantic import Field

from pipeline.settings import Section


class LinearWeight(Section):
    """A weight that goes from `start`, at the first update, to `end`, at the last."""

    start: float = Field(ge=0)
    end: float = Field(ge=0)


class LinearTemperature(Section):
    """A temperature that goes from `start`, at the first update, to `end`, at the last."""

    start: float = Field(gt=0)
    end: float = Field(gt=0)


def value_at(value: float | LinearWeight | LinearTemperature, progress: float) -> float:
    """Return the value when the share `progress` (0 to 1) of the updates is made."""
    if isinstance(value, (int, float)):
        return value
    return value.start + (value.end - value.start) * progress
