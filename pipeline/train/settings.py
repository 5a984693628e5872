"""The `training` section and `students.NAME`, which may override parts of it."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from pipeline.core.errors import SettingsError
from pipeline.core.settings import Section, parse_section
from pipeline.objectives.chosen import ChosenObjectives, ObjectivesSettings
from pipeline.text.joined import TargetsOf


class TrainingSettings(Section):
    """How students are trained."""

    epochs: int = Field(default=3, ge=1)
    batch_size: int = Field(default=32, ge=1)
    """Examples in one update, of all processes together."""
    micro_batch_size: int | None = Field(default=None, ge=1)
    """Most examples in one forward; gradients are accumulated over a batch. Null: no limit."""
    learning_rate: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's, for matrices; biases and normalisation weights have none."""
    warmup_ratio: float = Field(default=0.1, ge=0, lt=1)
    """Share of the updates in which the learning rate rises; then it falls to zero."""
    schedule: Literal["linear", "cosine"] = "linear"
    """The course of that fall."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient of all weights together."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of matrix products; `auto` is bfloat16 on CUDA, float32 on a CPU."""
    compile: bool = False
    """Compile the student with `torch.compile` first: minutes at the start, faster steps."""
    gradient_checkpointing: bool = False
    """Compute layers again in the backward pass instead of keeping what they computed."""
    group_by_length: bool = True
    """Batches of similar length: less padding, and the same order for all students that share a
    tokenizer."""
    shuffle: Literal["global", "block"] = "global"
    """`block`, for a store on a slow disk or larger than the memory: it is read block by
    block, and rows are shuffled among those that the buffer holds."""
    shuffle_buffer_mib: int = Field(default=1024, ge=1)
    """Signals (MiB) that the buffer of `shuffle: block` holds."""
    unlabelled_share: float | None = Field(default=None, ge=0, lt=1)
    """Share of unlabelled rows in every batch; an epoch is then a pass over the labelled ones.
    0: labelled rows alone. Null: all rows come mixed, each once an epoch."""
    validations_per_epoch: int = Field(default=1, ge=1)
    """The weights of the best validation are kept: the best score of the primary metric, of equal
    scores the lowest loss on the labels."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many validations of which none was better than all before; null never stops
    early."""
    seed: int = Field(default=0, ge=0, lt=2**32)


class StudentSettings(Section):
    """One student: what it is, what it learns from, and how."""

    model: dict[str, Any]
    """What it is; `model_of` has the settings of each architecture."""
    objectives: ObjectivesSettings
    training: dict[str, Any] = Field(default_factory=dict)
    """Values that replace those of the `training` section for this student alone."""
    augmented: bool = False
    """Whether it is trained on the rows of the `augment` stage as well."""
    targets: TargetsOf = "data"
    """Whose texts it learns to write: those of the data, those that the teacher wrote for the
    same rows in the `generate` stage (Kim & Rush 2016), or both."""


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


SMALLEST_COMPARED = 3
"""Rows of a batch by which a loss that compares them says something: any two are alike."""


def check_batches(
    objectives: ChosenObjectives, training: TrainingSettings, *, n_processes: int
) -> None:
    """Refuse batches that cannot be mixed, or that are cut where an objective compares their rows.

    Raises:
        SettingsError: naming the setting, or the objective and the parts.
    """
    if training.unlabelled_share is not None:
        _check_mixing(training)
    names = objectives.whole_batches()
    if names and training.batch_size < SMALLEST_COMPARED:
        raise SettingsError(
            f"objectives.{names[0]} compares the rows of a batch with each other, and of "
            f"{training.batch_size} there is little to compare. Set training.batch_size to "
            f"{SMALLEST_COMPARED} or more"
        )
    micro_batch = training.micro_batch_size or training.batch_size
    if names and (micro_batch < training.batch_size or n_processes > 1):
        raise SettingsError(
            f"objectives.{names[0]} compares all rows of a batch with each other, so a batch "
            f"of {training.batch_size} cannot be computed in parts of {micro_batch} by "
            f"{n_processes} processes. Set training.micro_batch_size to null and "
            "runtime.processes to 1"
        )


def _check_mixing(training: TrainingSettings) -> None:
    if training.shuffle == "block":
        raise SettingsError(
            "training.unlabelled_share: rows are drawn from everywhere by their kind, which "
            "shuffle: block does not; set one of the two to null or global"
        )
    if training.batch_size < 2 and training.unlabelled_share:
        raise SettingsError(
            "training.unlabelled_share: a batch of 1 cannot be shared; raise training.batch_size"
        )
