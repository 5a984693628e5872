"""The settings of the evaluate stage: section `evaluation` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.settings import Section


class EvaluationSettings(Section):
    """What a finished student is measured on."""

    splits: Annotated[tuple[Literal["validation", "test"], ...], Field(min_length=1)] = (
        "validation",
        "test",
    )
    """Splits to score. Drops and fidelity are reported on the test split where it is among them."""

    n_latency_repeats: Annotated[int, Field(ge=1)] = 30
    """Times each model is timed; the reported cost is the median."""

    n_latency_examples: Annotated[int, Field(ge=1)] = 64
    """Rows that the timing draws its examples from. They are spread over the lengths that occur."""
