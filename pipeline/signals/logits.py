"""The task head's pre-softmax outputs, and the settings that choose among their forms.

A teacher of rows has `logits`, one of tokens `token_logits`. Those of a whole vocabulary are too
many to keep: see `top_logits`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import Field

from pipeline.models.architecture import Architecture
from pipeline.signals.axis import Axis
from pipeline.signals.signal import Array, Arrays, Signal, SignalSettings, StateEncoding
from pipeline.signals.top_logits import top_k_arrays, whole_top_k
from pipeline.tasks.task import BY_TOKEN, Task, Unit

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.models.probe import Forward

DEFAULT_TOP_K = 64


class LogitsSettings(SignalSettings):
    """The task head's pre-softmax outputs."""

    encoding: StateEncoding = "float32"
    top_k: int | None = Field(default=None, ge=1)
    """Tasks that predict tokens of a vocabulary only: how many of the largest logits are kept at
    each label position, with the log-sum-exp of all; null is 64. Other tasks keep all."""

    def arrays(self, signal: Signal, task: Task) -> Arrays:
        """Return all logits, or the four arrays of the top-k logits."""
        if task.predicts != "piece":
            return {logits_array(task.predicts): self.encoding}
        top = top_k_arrays(self.top_k or DEFAULT_TOP_K)
        return {array: array.signal.encodings[0] for array in top} | {top.values: self.encoding}

    def faults(
        self, signal: Signal, task: Task, teacher: Architecture, *, is_default: bool
    ) -> list[str]:
        """Refuse a top_k where all logits are kept, or beyond the vocabulary."""
        top_k = self.top_k or DEFAULT_TOP_K
        if task.predicts != "piece" and self.top_k is not None:
            return [
                f"capture.signals.logits.top_k: all logits of the task {task.kind} are captured, "
                "which are few. Leave it out."
            ]
        if task.predicts == "piece" and top_k >= teacher.n_labels:
            return [
                f"capture.signals.logits.top_k: the {top_k} largest logits are asked for, and the "
                f"teacher's vocabulary has {teacher.n_labels:,} word pieces, of which some must be "
                f"left to be the others. Set it to {teacher.n_labels - 1} or less."
            ]
        return []


def _take(forward: Forward, array: Array) -> Tensor:
    return forward.logits


def _labels(array: Array, model: Architecture) -> tuple[int, ...]:
    return (model.n_labels,)


LOGITS = Signal(
    name="logits",
    called="logits",
    axis=Axis.ROW,
    take=_take,
    width=_labels,
    width_axes=("label",),
    array_name="logits",
    settings=LogitsSettings,
    captured="always",
)
TOKEN_LOGITS = Signal(
    name="token_logits",
    called="logits of tokens",
    axis=Axis.TOKEN,
    take=_take,
    width=_labels,
    array_name="logits/tokens",
)


def logits_array(predicts: Unit) -> Array:
    """Return the array that holds all logits of a task that predicts this."""
    return Array(TOKEN_LOGITS if predicts in BY_TOKEN else LOGITS)


def logits_arrays(predicts: Unit, held: Iterable[Array]) -> tuple[Array, ...]:
    """Return the arrays, out of those that a store holds, with a teacher's logits.

    Raises:
        StoreIncompleteError: the top-k logits of a vocabulary are not all there.
    """
    return whole_top_k(held) if predicts == "piece" else (logits_array(predicts),)
