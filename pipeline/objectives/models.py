"""The two models that objectives compare: what there is of either, and refusals of the rest."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from pipeline.core.errors import SettingsError
from pipeline.models.architecture import Architecture
from pipeline.store.pieces import arrays_of_logits
from pipeline.store.spec import ArraySpec
from pipeline.tasks.classification import CLASSIFICATION
from pipeline.tasks.task import Task, Unit

Part = Literal[
    "cls",
    "hidden_states",
    "attentions",
    "pooling",
    "decoder_hidden_states",
    "decoder_attentions",
    "cross_attentions",
]
"""What a student may give beside logits. `pooling`: how much of each token its head reads."""

TRANSFORMER_PARTS: frozenset[Part] = frozenset({"cls", "hidden_states", "attentions"})
DECODER_PARTS: frozenset[Part] = frozenset(
    {"decoder_hidden_states", "decoder_attentions", "cross_attentions"}
)
ENCODER_DECODER_PARTS: frozenset[Part] = DECODER_PARTS | {"hidden_states", "attentions"}

_CALLED: dict[Part, str] = {
    "cls": "[CLS] states",
    "hidden_states": "hidden states of tokens",
    "attentions": "attention maps",
    "pooling": "attention pooling",
    "decoder_hidden_states": "hidden states of a decoder's tokens",
    "decoder_attentions": "attention maps of a decoder",
    "cross_attentions": "maps of cross-attention",
}


@dataclass(frozen=True)
class StudentShape:
    """What of a student can be compared with a teacher."""

    n_layers: int
    """1 for a student without Transformer layers: what its head reads is its layer 1."""
    hidden_size: int
    n_heads: int
    """0 without attention maps."""
    architecture: str = "transformer"
    gives: frozenset[Part] = TRANSFORMER_PARTS
    predicts: frozenset[Unit] = frozenset(get_args(Unit))
    """What there is a head for."""
    reads_teacher_tokens: bool = True
    """False where it has a tokenizer of its own: then no token of one is a token of the other."""
    n_decoder_layers: int = 0
    """0 without a decoder beside the encoder."""


@dataclass(frozen=True)
class Models:
    """A student and the teacher whose signals it learns from."""

    student: StudentShape
    teacher: Architecture
    task: Task = CLASSIFICATION
    captured: frozenset[ArraySpec] = field(default_factory=frozenset)
    """Arrays that the store has, for objectives that take what there is."""

    @property
    def logits(self) -> frozenset[ArraySpec]:
        """The arrays with the teacher's logits; of word pieces, the likeliest that there are."""
        return frozenset(arrays_of_logits(self.task.predicts, self.captured))

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
                [
                    f"compares probabilities of classes, and a {self.task.kind} has none. Use "
                    "logit_match, which compares the predicted numbers"
                ]
            )

    def require_labelled_rows(self) -> None:
        """Refuse a task that does not put each row into one of several classes.

        Raises:
            SettingsError: naming the tasks that do.
        """
        if not self.task.has_one_class:
            raise SettingsError(
                [
                    f"needs one label of several for each row, which a {self.task.kind} does not "
                    "have; it is for classification. Take this objective out"
                ]
            )

    def require(self, part: Part) -> None:
        """Refuse a student that does not have this part, or not for the teacher's tokens.

        Raises:
            SettingsError: saying what the student does give.
        """
        if part not in self.student.gives:
            given = ["logits", *(_CALLED[one] for one in sorted(self.student.gives))]
            raise SettingsError(
                [
                    f"compares {_CALLED[part]}, which a {self.student.architecture} student does "
                    f"not have; it gives {', '.join(given)}. Take this objective out"
                ]
            )
        if part != "cls" and not self.student.reads_teacher_tokens:
            raise SettingsError(
                [
                    f"compares {_CALLED[part]} token by token, but the student has another "
                    "tokenizer than the teacher. Use objectives of whole examples (logits, [CLS]), "
                    "or a student checkpoint with the teacher's tokenizer"
                ]
            )

    def require_equal_width(self, *, has_projection: bool) -> None:
        """Refuse states of unequal width, unless a projection makes them equal.

        Raises:
            SettingsError: naming both widths.
        """
        ours, theirs = self.student.hidden_size, self.teacher.hidden_size
        if ours != theirs and not has_projection:
            raise SettingsError(
                [
                    f"compares states of {ours} numbers (student) with states of {theirs} "
                    "(teacher). Set projection: true to learn a map between them"
                ]
            )
