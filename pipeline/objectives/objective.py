"""What every objective is, and the batch that it is given.

An objective never pads, moves or decodes anything; it gets a batch in which teacher
and student are aligned and returns one number in nats or squared units, as its file
says, averaged over the examples of the batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from pipeline.objectives.needs import MapSignal, StateSignal
from pipeline.tasks.pieces import in_classes
from pipeline.tasks.predictions import Targets


@dataclass(frozen=True)
class StudentOutputs:
    """What the student computed for a batch."""

    logits: Float[Tensor, "prediction class"]
    """Pre-softmax, as `tasks.predictions` arranges them; of word pieces, over all of them."""
    mask: Bool[Tensor, "batch token"]
    """True on real tokens."""
    cls: Mapping[int, Float[Tensor, "batch hidden"]] = field(default_factory=dict)
    hidden_states: Mapping[int, Float[Tensor, "batch token hidden"]] = field(default_factory=dict)
    attentions: Mapping[int, Float[Tensor, "batch head query key"]] = field(default_factory=dict)
    """Post-softmax, padded."""
    pooling: Float[Tensor, "batch token"] | None = None
    """Weights by which the head reads the tokens; they sum to 1, padding has 0."""
    decoder_mask: Bool[Tensor, "batch target"] | None = None
    """True on a decoder's real tokens; None without a decoder beside the encoder."""
    decoder_hidden_states: Mapping[int, Float[Tensor, "batch target hidden"]] = field(
        default_factory=dict
    )
    decoder_attentions: Mapping[int, Float[Tensor, "batch head query key"]] = field(
        default_factory=dict
    )
    cross_attentions: Mapping[int, Float[Tensor, "batch head target token"]] = field(
        default_factory=dict
    )

    def states(self, signal: StateSignal) -> Mapping[int, Float[Tensor, "batch token hidden"]]:
        """Return the states that a signal of the store is compared with."""
        if signal == "hidden_states":
            return self.hidden_states
        return self.decoder_hidden_states

    def maps(self, signal: MapSignal) -> Mapping[int, Float[Tensor, "batch head query key"]]:
        """Return the attention maps that a signal of the store is compared with."""
        return {
            "attentions": self.attentions,
            "decoder_attentions": self.decoder_attentions,
            "cross_attentions": self.cross_attentions,
        }[signal]

    def real(self, signal: StateSignal | MapSignal) -> Bool[Tensor, "batch token"]:
        """Return which tokens a signal has states of, or which may be queries in its maps."""
        if signal in ("hidden_states", "attentions"):
            return self.mask
        assert self.decoder_mask is not None
        return self.decoder_mask

    def real_keys(self, signal: MapSignal) -> Bool[Tensor, "batch token"]:
        """Return which tokens may be keys in the maps of a signal."""
        return self.mask if signal == "cross_attentions" else self.real(signal)


@dataclass(frozen=True)
class TeacherSignals:
    """What the store holds for the same batch, in float32."""

    logits: Float[Tensor, "prediction class"] | None = None
    """Pre-softmax, arranged as the student's; of word pieces, in `tasks.pieces`' classes."""
    pieces: Int[Tensor, "prediction k"] | None = None
    """The word pieces that are the classes but the last, where pieces are predicted."""
    other_logits: Mapping[str, Float[Tensor, "prediction class"]] = field(default_factory=dict)
    """Those of other teachers, by the folder of their store."""
    cls: Mapping[int, Float[Tensor, "batch hidden"]] = field(default_factory=dict)
    cls_deviations: Mapping[int, Float[Tensor, " hidden"]] = field(default_factory=dict)
    """Standard deviation of each number of [CLS] over the store's rows."""
    hidden_states: Mapping[int, Float[Tensor, "token hidden"]] = field(default_factory=dict)
    """Row after row over its own tokens, without padding."""
    attentions: Mapping[int, Float[Tensor, " element"]] = field(default_factory=dict)
    """Post-softmax, row after row (head, query, key) over its own tokens, without padding."""
    mean_attentions: Mapping[int, Float[Tensor, " element"]] = field(default_factory=dict)
    """The same, averaged over heads: (query, key)."""
    decoder_hidden_states: Mapping[int, Float[Tensor, "target hidden"]] = field(
        default_factory=dict
    )
    decoder_attentions: Mapping[int, Float[Tensor, " element"]] = field(default_factory=dict)
    mean_decoder_attentions: Mapping[int, Float[Tensor, " element"]] = field(default_factory=dict)
    cross_attentions: Mapping[int, Float[Tensor, " element"]] = field(default_factory=dict)
    """Queries are a decoder's tokens, keys the encoder's."""
    mean_cross_attentions: Mapping[int, Float[Tensor, " element"]] = field(default_factory=dict)

    def states(self, signal: StateSignal) -> Mapping[int, Float[Tensor, "token hidden"]]:
        """Return the states of a signal."""
        if signal == "hidden_states":
            return self.hidden_states
        return self.decoder_hidden_states

    def maps(self, signal: MapSignal) -> Mapping[int, Float[Tensor, " element"]]:
        """Return the attention maps of a signal."""
        return {
            "attentions": self.attentions,
            "decoder_attentions": self.decoder_attentions,
            "cross_attentions": self.cross_attentions,
        }[signal]

    def mean_maps(self, signal: MapSignal) -> Mapping[int, Float[Tensor, " element"]]:
        """Return the attention maps of a signal that are averaged over heads."""
        return {
            "attentions": self.mean_attentions,
            "decoder_attentions": self.mean_decoder_attentions,
            "cross_attentions": self.mean_cross_attentions,
        }[signal]

    def classes_of(self, student: StudentOutputs) -> Float[Tensor, "prediction class"]:
        """Return a student's logits, in float32, in the classes of the teacher's."""
        logits = student.logits.float()
        return logits if self.pieces is None else in_classes(logits, self.pieces)


class Objective(nn.Module, ABC):
    """One loss term; a module, because some have weights of their own."""

    @abstractmethod
    def forward(
        self,
        student: StudentOutputs,
        teacher: TeacherSignals,
        labels: Shaped[Tensor, " prediction"],
    ) -> Float[Tensor, ""]:
        """Return the loss, a mean over targets; `labels` are -1 (numbers: nan) where unknown."""

    def begin_step(self, progress: float) -> None:  # nothing, unless one anneals
        """Take note of the share of all updates that was made, from 0 to 1."""

    def count_targets(self, targets: Targets) -> int:
        """Return what the mean is over; by it, the means of parts add up to that of the batch."""
        return targets.n_rows
