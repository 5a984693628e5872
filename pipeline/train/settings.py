"""The `training` section and `students.NAME`, which may override parts of it."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from pipeline.objectives.weighted_sum import ObjectivesSettings
from pipeline.settings import Section, parse_section
from pipeline.student.settings import TransformerSettings


class TrainingSettings(Section):
    """How students are trained."""

    epochs: int = Field(default=3, ge=1)
    batch_size: int = Field(default=32, ge=1)
    """Examples in one update."""
    learning_rate: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's, for matrices; biases and normalisation weights have none."""
    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of the updates in which the learning rate rises; then it falls to zero."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient of all weights together."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of matrix products; `auto` is bfloat16 on CUDA, float32 on a CPU."""
    group_by_length: bool = True
    """Batches of similar length: less padding, and the same order for every student."""
    validations_per_epoch: int = Field(default=1, ge=1)
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many validations without a better score; null never stops early."""
    seed: int = Field(default=0, ge=0, lt=2**32)


class StudentSettings(Section):
    """One student: what it is, what it learns from, and how."""

    model: TransformerSettings
    objectives: ObjectivesSettings
    training: dict[str, Any] = Field(default_factory=dict)
    """Values that replace those of the `training` section for this student alone."""


def training_of(
    params: Mapping[str, Any], student: StudentSettings, place: str
) -> TrainingSettings:
    """Return the training settings of a student: the section's, with its own on top.

    Raises:
        SettingsError: a value of either is not usable.
    """
    section = params.get("training") or {}
    parse_section(TrainingSettings, section, "training")
    return parse_section(TrainingSettings, {**section, **student.training}, f"{place}.training")
