"""`students.NAME.model`: what a student is and which weights it starts from."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.architecture import Architecture, read_architecture
from pipeline.checkpoint import find_checkpoint, load_tokenizer
from pipeline.errors import SettingsError
from pipeline.fingerprint import digest_tokenizer
from pipeline.objectives.models import StudentShape
from pipeline.settings import Section

TRANSFORMER = "transformer"


class ModelSettings(Section, ABC):
    """What every student's `model` says."""

    architecture: str

    @abstractmethod
    def shape(self, teacher: Architecture, tokenizer: str) -> StudentShape:
        """Return what of the student can be compared; `tokenizer` is the teacher's digest.

        Raises:
            SettingsError: the teacher leaves no way to make such a student.
            CheckpointError: the student's own checkpoint cannot be used.
        """

    def tokenizer_folder(self) -> Path | None:
        """Return where the student's own tokenizer is, or None where it is the teacher's."""
        return None

    @property
    @abstractmethod
    def reads_teacher_weights(self) -> bool:
        """Whether the student starts from any of the teacher's weights in the store."""

    @property
    def started_from(self) -> str:
        """What the student's weights start from, for its model card."""
        return "random"


class TransformerSettings(ModelSettings):
    """The teacher's architecture with fewer or narrower layers, or any encoder checkpoint."""

    architecture: Literal["transformer"] = "transformer"
    n_layers: int | None = Field(default=None, ge=1)
    hidden_size: int | None = Field(default=None, ge=1)
    """Width of the hidden states; null is the teacher's."""
    n_heads: int | None = Field(default=None, ge=1)
    """Attention heads of a layer; null keeps the width of the teacher's heads."""
    intermediate_size: int | None = Field(default=None, ge=1)
    """Width within the feed-forward blocks; null keeps the teacher's ratio to hidden_size."""
    warm_start: Literal["first", "every", "heads", "none"] | tuple[int, ...] = "first"
    """Teacher layers the student starts from: the `first` ones, `every` N/M-th, a list of
    layer numbers, or `none`. Embeddings and head come along unless it is `none`. `heads`
    takes pooler, classifier and the last layer's output block, and nothing else."""
    checkpoint: str | None = None
    """An encoder checkpoint (folder, Hub id, package) that is the student, in the place of
    all other settings. Its tokenizer may be another than the teacher's."""

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        others = sorted(self.model_fields_set - {"architecture", "checkpoint"})
        if self.checkpoint is None and self.n_layers is None:
            raise ValueError("give n_layers, or the checkpoint that the student starts from")
        if self.checkpoint is not None and others:
            raise ValueError(
                f"the checkpoint says what the student is; take {', '.join(others)} out"
            )
        return self

    @property
    def is_narrower(self) -> bool:
        """Whether layers have other widths than the teacher's, so that none can be copied."""
        return any((self.hidden_size, self.n_heads, self.intermediate_size))

    @property
    def reads_teacher_weights(self) -> bool:
        """Whether layers or head are the teacher's."""
        return self.checkpoint is None and self.warm_start != "none"

    def tokenizer_folder(self) -> Path | None:
        """Return the checkpoint's folder, where one is named."""
        return None if self.checkpoint is None else find_checkpoint(self.checkpoint)

    @property
    def started_from(self) -> str:
        """The checkpoint, or the teacher's layers."""
        if self.checkpoint is not None:
            return self.checkpoint
        if isinstance(self.warm_start, str):
            return self.warm_start
        return f"teacher layers {self.warm_start}"

    def shape(self, teacher: Architecture, tokenizer: str) -> StudentShape:
        """Return the depth and widths, read from the checkpoint where there is one."""
        if self.checkpoint is not None:
            folder = find_checkpoint(self.checkpoint)
            own = read_architecture(folder)
            return StudentShape(
                n_layers=own.n_layers,
                hidden_size=own.hidden_size,
                n_heads=own.n_heads,
                reads_teacher_tokens=digest_tokenizer(load_tokenizer(folder)) == tokenizer,
            )
        assert self.n_layers is not None
        self.teacher_layers(teacher.n_layers)
        hidden_size = self.hidden_size or teacher.hidden_size
        head_size = teacher.hidden_size // teacher.n_heads
        n_heads = self.n_heads or max(1, hidden_size // head_size)
        if hidden_size % n_heads:
            raise SettingsError(
                [
                    f"hidden_size: {hidden_size} is not a multiple of {n_heads} heads; change it "
                    "or n_heads"
                ]
            )
        return StudentShape(self.n_layers, hidden_size, n_heads)

    def teacher_layers(self, n_teacher: int) -> list[int]:
        """Return the teacher layer (1 to `n_teacher`) each student layer starts from, in order.

        `first` is 1..M, `every` floor(j N / M) for j = 1..M; `none` and `heads` give an
        empty list.

        Raises:
            SettingsError: the teacher has no such layer, the list has another length, or the
                student's layers have other widths.
        """
        n_student = self.n_layers
        assert n_student is not None
        if self.is_narrower and self.warm_start != "none":
            raise SettingsError(
                [
                    f"warm_start: '{self.warm_start}' copies tensors of the teacher, which do not "
                    "fit layers of other widths; set it to none"
                ]
            )
        if self.warm_start in ("none", "heads"):
            return []
        if isinstance(self.warm_start, str):
            if n_student > n_teacher:
                raise SettingsError(
                    [
                        f"warm_start: '{self.warm_start}' needs {n_student} teacher layers, the "
                        f"teacher has {n_teacher}; use fewer layers, a list, or none"
                    ]
                )
            step = n_teacher if self.warm_start == "every" else n_student
            return [layer * step // n_student for layer in range(1, n_student + 1)]
        layers = list(self.warm_start)
        outside = [layer for layer in layers if not 1 <= layer <= n_teacher]
        if outside or len(layers) != n_student:
            raise SettingsError(
                [
                    f"warm_start: lists teacher layers {', '.join(map(str, layers))} for a student "
                    f"of {n_student} layers; give {n_student} numbers from 1 to {n_teacher}"
                ]
            )
        return layers
