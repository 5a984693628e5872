"""`students.NAME.model`: what a student is and which weights it starts from."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.core.checkpoint import find_checkpoint, load_tokenizer
from pipeline.core.errors import SettingsError
from pipeline.core.fingerprint import digest_tokenizer
from pipeline.core.settings import Section
from pipeline.models.architecture import Architecture, read_architecture
from pipeline.signals.models import ENCODER_DECODER_SIGNALS, TRANSFORMER_SIGNALS, StudentShape

TRANSFORMER = "transformer"

LayerChoice = Literal["first", "every"] | tuple[int, ...]
"""Teacher layers: the first ones, every N/M-th, or those listed."""


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
    n_decoder_layers: int | None = Field(default=None, ge=1)
    """Of a model with a decoder beside its encoder; null is n_layers."""
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
    decoder_warm_start: LayerChoice | None = None
    """The same for the decoder's layers; null is as warm_start says."""
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
            return _shape_of_checkpoint(folder, teacher, tokenizer)
        assert self.n_layers is not None
        faults = self._decoder_faults(teacher)
        if faults:
            raise SettingsError(*faults)
        self.teacher_layers(teacher.n_layers)
        if teacher.n_decoder_layers is not None:
            self.teacher_decoder_layers(teacher.n_decoder_layers)
            return StudentShape(
                self.n_layers,
                teacher.hidden_size,
                teacher.n_heads,
                gives=ENCODER_DECODER_SIGNALS,
                n_decoder_layers=self.n_student_decoder_layers,
            )
        hidden_size = self.hidden_size or teacher.hidden_size
        head_size = teacher.hidden_size // teacher.n_heads
        n_heads = self.n_heads or max(1, hidden_size // head_size)
        if hidden_size % n_heads:
            raise SettingsError(
                f"hidden_size: {hidden_size} is not a multiple of {n_heads} heads; change it "
                "or n_heads"
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
        assert self.n_layers is not None
        if self.is_narrower and self.warm_start != "none":
            raise SettingsError(
                f"warm_start: '{self.warm_start}' copies tensors of the teacher, which do not "
                "fit layers of other widths; set it to none"
            )
        if self.warm_start == "none" or self.warm_start == "heads":
            return []
        return _chosen_layers(self.warm_start, self.n_layers, n_teacher, "warm_start")

    @property
    def n_student_decoder_layers(self) -> int:
        """Layers of the student's decoder, where the teacher has one."""
        assert self.n_layers is not None
        return self.n_decoder_layers or self.n_layers

    def teacher_decoder_layers(self, n_teacher: int) -> list[int]:
        """Return the same of the decoder's layers; `n_teacher` are the teacher's.

        Raises:
            SettingsError: the teacher has no such layer, or the list has another length.
        """
        if self.warm_start == "none" or self.warm_start == "heads":
            return []
        choice = self.decoder_warm_start or self.warm_start
        return _chosen_layers(
            choice, self.n_student_decoder_layers, n_teacher, "decoder_warm_start"
        )

    def _decoder_faults(self, teacher: Architecture) -> list[str]:
        """Return lines about settings that a teacher with a decoder, or without, does not have."""
        if teacher.n_decoder_layers is None:
            only = ("n_decoder_layers", "decoder_warm_start")
            return [
                f"{name}: a {teacher.model_type} teacher has no decoder beside its encoder; take "
                "it out"
                for name in only
                if getattr(self, name) is not None
            ]
        if self.is_narrower:
            return [
                f"hidden_size, n_heads, intermediate_size: a student of a {teacher.model_type} "
                "teacher has its widths; take them out and choose n_layers and n_decoder_layers"
            ]
        if self.warm_start == "heads":
            return [
                "warm_start: 'heads' is of an encoder alone, and the teacher has a decoder; set it "
                "to first, every, a list of layers, or none"
            ]
        if self.warm_start == "none" and self.decoder_warm_start is not None:
            return [
                "decoder_warm_start: names layers to start from, and warm_start is none; change "
                "one of both"
            ]
        return []


def _chosen_layers(choice: LayerChoice, n_student: int, n_teacher: int, place: str) -> list[int]:
    """Return the teacher layers that a choice means; `place` is the setting's name."""
    if isinstance(choice, str):
        if n_student > n_teacher:
            raise SettingsError(
                f"{place}: '{choice}' needs {n_student} teacher layers, the "
                f"teacher has {n_teacher}; use fewer layers, a list, or none"
            )
        step = n_teacher if choice == "every" else n_student
        return [layer * step // n_student for layer in range(1, n_student + 1)]
    outside = [layer for layer in choice if not 1 <= layer <= n_teacher]
    if outside or len(choice) != n_student:
        raise SettingsError(
            f"{place}: lists teacher layers {', '.join(map(str, choice))} for a student "
            f"of {n_student} layers; give {n_student} numbers from 1 to {n_teacher}"
        )
    return list(choice)


def _shape_of_checkpoint(folder: Path, teacher: Architecture, tokenizer: str) -> StudentShape:
    """Return what of a checkpoint can be compared with the teacher."""
    own = read_architecture(folder)
    if (own.n_decoder_layers is None) != (teacher.n_decoder_layers is None):
        has = "has a decoder beside its encoder" if own.n_decoder_layers else "has no such decoder"
        raise SettingsError(
            f"checkpoint: a model of type '{own.model_type}' {has}, unlike the teacher, a "
            f"{teacher.model_type}. Name a checkpoint that can do the teacher's task"
        )
    return StudentShape(
        n_layers=own.n_layers,
        hidden_size=own.hidden_size,
        n_heads=own.n_heads,
        gives=ENCODER_DECODER_SIGNALS if own.n_decoder_layers else TRANSFORMER_SIGNALS,
        reads_teacher_tokens=digest_tokenizer(load_tokenizer(folder)) == tokenizer,
        n_decoder_layers=own.n_decoder_layers or 0,
    )
