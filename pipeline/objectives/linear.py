"""A number that is constant, or changes linearly in the course of a training.

With p the share of the updates that were made, 0 at the first and 1 at the last:

    v(p) = start                                              p < start_at
           start + (end - start) (p - start_at) / (end_at - start_at)   between
           end                                                p >= end_at

Without `start_at` and `end_at` it moves all the time. Where both are the same it jumps
there: weights that jump at one share are two phases, one set of objectives after the
other, in one training.
"""

from abc import ABC

from pydantic import Field, ValidationInfo, field_validator

from pipeline.core.settings import Section


class Linear(Section, ABC):
    """What a weight and a temperature that change have in common: when they do."""

    start: float
    end: float
    start_at: float = Field(default=0.0, ge=0, le=1)
    """Share of the updates until which the value is `start`."""
    end_at: float = Field(default=1.0, ge=0, le=1)
    """Share of the updates from which on it is `end`; equal to `start_at`, it jumps."""

    @field_validator("end_at")
    @classmethod
    def _is_not_before_the_start(cls, end_at: float, fields: ValidationInfo) -> float:
        start_at = fields.data.get("start_at", 0.0)
        if end_at < start_at:
            raise ValueError(f"{end_at:g} is before start_at, {start_at:g}; exchange them")
        return end_at

    def at(self, progress: float) -> float:
        """Return the value when the share `progress` (0 to 1) of the updates is made."""
        if progress >= self.end_at:
            return self.end
        if progress <= self.start_at:
            return self.start
        share = (progress - self.start_at) / (self.end_at - self.start_at)
        return self.start + (self.end - self.start) * share


class LinearWeight(Linear):
    """A weight that goes from `start` to `end`; the objective counts for nothing where it is 0."""

    start: float = Field(ge=0)
    end: float = Field(ge=0)


class LinearTemperature(Linear):
    """A temperature that goes from `start` to `end`."""

    start: float = Field(gt=0)
    end: float = Field(gt=0)


def value_at(value: float | Linear, progress: float) -> float:
    """Return a constant, or a changing value at the share `progress` (0 to 1) of the updates."""
    return value.at(progress) if isinstance(value, Linear) else value
