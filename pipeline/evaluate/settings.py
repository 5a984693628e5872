"""The settings of the evaluate stage: section `evaluation` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from pipeline.core.settings import Section

SplitName = Literal["validation", "test"]


class WritingSettings(Section):
    """How the texts are written that a sequence_to_sequence is judged by."""

    num_beams: Annotated[int, Field(ge=1)] = 4
    """Beginnings of a text that are followed at once; 1 always takes the likeliest piece."""

    max_new_tokens: Annotated[int, Field(ge=1)] | None = None
    """Word pieces of a text at most; None: tokenizer.max_length."""


class EvaluationSettings(Section):
    """What a finished student is measured on."""

    splits: tuple[SplitName, ...] = ("validation", "test")
    """Splits to score. Students are compared on test, or on the last split that has labels."""

    n_latency_repeats: Annotated[int, Field(ge=1)] = 30
    """Times each model is timed; the reported cost is the median."""

    n_latency_examples: Annotated[int, Field(ge=1)] = 64
    """Rows that the timing takes its examples from, in a circle."""

    generation: WritingSettings = WritingSettings()

    @field_validator("splits")
    @classmethod
    def _names_each_once(cls, splits: tuple[SplitName, ...]) -> tuple[SplitName, ...]:
        if not splits or len(set(splits)) < len(splits):
            raise ValueError(f"name validation, test or both, each once; found {list(splits)}")
        return splits
