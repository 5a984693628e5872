"""The [CLS] state of every layer: what the task's head reads of the token states.

One array holds all layers, the embedding output included; a layer's is `Array(CLS, layer)`. Its
moments over the rows of a segment go wherever it goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.models.architecture import Architecture
from pipeline.signals.axis import Axis
from pipeline.signals.signal import NO_LAYER, Array, Arrays, Signal, SignalSettings, StateEncoding
from pipeline.tasks.task import Task

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from pipeline.models.probe import Forward


class ClsSettings(SignalSettings):
    """The [CLS] state of every layer, the embedding output included.

    Not captured of a teacher that writes texts: it has none.
    """

    encoding: StateEncoding = "float16"

    def arrays(self, signal: Signal, task: Task) -> Arrays:
        """Return the one array of all layers."""
        return {} if task.writes else {CLS_STATES: self.encoding}

    def faults(
        self, signal: Signal, task: Task, teacher: Architecture, *, is_default: bool
    ) -> list[str]:
        """Refuse it where it was asked for and there is none."""
        if is_default or not task.writes:
            return []
        return [
            f"capture.signals.cls: no head of a teacher for {task.kind} reads one token's "
            "state. Set it to null."
        ]


def _take(forward: Forward, array: Array) -> Tensor:
    import torch

    if array.layer != NO_LAYER:
        return forward.cls(array.layer)
    return torch.stack([forward.cls(layer) for layer in range(forward.n_states)], 1)


def _take_moments(forward: Forward, array: Array) -> Tensor:
    raise NotImplementedError("moments are computed from the stored states of a segment")


def _layers(array: Array, model: Architecture) -> tuple[int, ...]:
    return (model.n_layers + 1, model.hidden_size)


def _moments(array: Array, model: Architecture) -> tuple[int, ...]:
    return (2, *_layers(array, model))


CLS = Signal(
    name="cls",
    called="[CLS] states",
    axis=Axis.ROW,
    take=_take,
    width=_layers,
    width_axes=("layer", "hidden"),
    array_name="cls",
    stack="encoder",
    is_of_states=True,
    settings=ClsSettings,
    captured="by default",
)
CLS_MOMENTS = Signal(
    name="cls_moments",
    called="moments of [CLS] states",
    axis=Axis.SEGMENT,
    take=_take_moments,
    width=_moments,
    width_axes=("moment", "layer", "hidden"),
    array_name="cls/moments",
    encodings=("float32",),
)
CLS_STATES = Array(CLS)
MOMENTS = Array(CLS_MOMENTS)
"""Mean, then standard deviation, of [CLS] over the rows."""


def with_moments(arrays: Arrays) -> Arrays:
    """Return `arrays` with the moments of [CLS], which go wherever [CLS] goes."""
    return {**arrays, MOMENTS: "float32"} if CLS_STATES in arrays else dict(arrays)


def segment_moments(
    states: Float[Tensor, "row layer hidden"],
) -> Float[Tensor, "moment layer hidden"]:
    """Return mean and standard deviation over a segment's rows, computed in float64."""
    import torch

    exact = states.double()
    return torch.stack([exact.mean(0), exact.std(0, correction=0)]).float()


def join_moments(
    moments: Float[Tensor, "moment segment layer hidden"], n_rows: Int[Tensor, " segment"]
) -> Float[Tensor, "moment layer hidden"]:
    """Return mean and standard deviation over the rows of all segments.

    `moments` are the segments' means and standard deviations, in float64 (Chan et al. 1979,
    equation 2.1).
    """
    import torch

    weights = n_rows.double()
    weights = (weights / weights.sum())[:, None, None]
    means, deviations = moments
    mean = (weights * means).sum(0)
    variance = (weights * (deviations**2 + (means - mean) ** 2)).sum(0)
    return torch.stack([mean.float(), variance.sqrt().float()])
