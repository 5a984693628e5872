"""A student and the teacher that it learns from: what there is of either to be compared."""

from dataclasses import dataclass, field
from typing import get_args

from pipeline.core.errors import SettingsError
from pipeline.models.architecture import Architecture
from pipeline.signals import SIGNALS
from pipeline.signals.axis import Axis
from pipeline.signals.cls import CLS
from pipeline.signals.logits import logits_arrays
from pipeline.signals.signal import Array, Signal
from pipeline.tasks.classification import CLASSIFICATION
from pipeline.tasks.task import Task, Unit

TRANSFORMER_SIGNALS = frozenset(one for one in SIGNALS.values() if one.stack == "encoder")
ENCODER_DECODER_SIGNALS = frozenset(one for one in SIGNALS.values() if one.stack) - {CLS}
"""Beside a decoder no head reads one token's state."""


@dataclass(frozen=True)
class StudentShape:
    """What of a student can be compared with a teacher."""

    n_layers: int
    """1 for a student without Transformer layers: what its head reads is its layer 1."""
    hidden_size: int
    n_heads: int
    """0 without attention maps."""
    architecture: str = "transformer"
    gives: frozenset[Signal] = TRANSFORMER_SIGNALS
    """What it gives beside logits."""
    predicts: frozenset[Unit] = frozenset(get_args(Unit))
    """What there is a head for."""
    reads_teacher_tokens: bool = True
    """False where it has a tokenizer of its own: then no token of one is a token of the other."""
    n_decoder_layers: int = 0
    """0 without a decoder beside the encoder."""

    def depth(self, signal: Signal) -> int:
        """Return the number of layers of the stack that a signal is of."""
        return self.n_decoder_layers if signal.stack == "decoder" else self.n_layers


@dataclass(frozen=True)
class Models:
    """A student and the teacher whose signals it learns from."""

    student: StudentShape
    teacher: Architecture
    task: Task = CLASSIFICATION
    captured: frozenset[Array] = field(default_factory=frozenset)
    """Arrays that the store has, for objectives that take what there is."""

    @property
    def logits(self) -> frozenset[Array]:
        """The arrays with the teacher's logits; of word pieces, the likeliest that there are."""
        return frozenset(logits_arrays(self.task.predicts, self.captured))

    def head_faults(self) -> list[str]:
        """Return a line where the student has no head for the task."""
        if self.task.predicts in self.student.predicts:
            return []
        return [
            f"architecture: a {self.student.architecture} student has no head for "
            f"{self.task.kind}; use a transformer"
            + (" or a bilstm_tagger" if self.task.predicts == "token" else "")
        ]

    def require_classes(self) -> None:
        """Refuse a task whose predictions are no probabilities.

        Raises:
            SettingsError: naming an objective that serves.
        """
        if self.task.predicts_numbers:
            raise SettingsError(
                f"compares probabilities of classes, and a {self.task.kind} has none. Use "
                "logit_match, which compares the predicted numbers"
            )

    def require_labelled_rows(self) -> None:
        """Refuse a task that does not put each row into one of several classes.

        Raises:
            SettingsError: naming the tasks that do.
        """
        if not self.task.has_one_class:
            raise SettingsError(
                f"needs one label of several for each row, which a {self.task.kind} does not "
                "have; it is for classification. Take this objective out"
            )

    def require(self, signal: Signal) -> None:
        """Refuse a student that does not have this signal, or not for the teacher's tokens.

        Raises:
            SettingsError: saying what the student does give.
        """
        if signal not in self.student.gives:
            given = ["logits", *(one.called for one in sorted(self.student.gives))]
            raise SettingsError(
                f"compares {signal.called}, which a {self.student.architecture} student does "
                f"not have; it gives {', '.join(given)}. Take this objective out"
            )
        if signal.axis != Axis.ROW and not self.student.reads_teacher_tokens:
            raise SettingsError(
                f"compares {signal.called} token by token, but the student has another "
                "tokenizer than the teacher. Use objectives of whole examples (logits, [CLS]), "
                "or a student checkpoint with the teacher's tokenizer"
            )

    def require_equal_width(self, *, has_projection: bool) -> None:
        """Refuse states of unequal width, unless a projection makes them equal.

        Raises:
            SettingsError: naming both widths.
        """
        ours, theirs = self.student.hidden_size, self.teacher.hidden_size
        if ours != theirs and not has_projection:
            raise SettingsError(
                f"compares states of {ours} numbers (student) with states of {theirs} "
                "(teacher). Set projection: true to learn a map between them"
            )
