"""The states of all tokens, of an encoder or of a decoder beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.models.architecture import Architecture
from pipeline.signals.axis import Axis
from pipeline.signals.signal import Array, LayerSettings, Signal, StateEncoding

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.models.probe import Forward


class HiddenStateSettings(LayerSettings):
    """The states of all tokens, of layers from 0 (the embedding output) on."""

    encoding: StateEncoding = "float16"


def _take(forward: Forward, array: Array) -> Tensor:
    assert array.signal.stack is not None
    return forward.states(array.layer, array.signal.stack)


def _hidden(array: Array, model: Architecture) -> tuple[int, ...]:
    return (model.hidden_size,)


HIDDEN_STATES = Signal(
    name="hidden_states",
    called="hidden states of tokens",
    axis=Axis.TOKEN,
    take=_take,
    width=_hidden,
    array_name="hidden_states/{layer}",
    stack="encoder",
    is_of_states=True,
    settings=HiddenStateSettings,
)
DECODER_HIDDEN_STATES = Signal(
    name="decoder_hidden_states",
    called="hidden states of a decoder's tokens",
    axis=Axis.TARGET,
    take=_take,
    width=_hidden,
    array_name="hidden_states/decoder-{layer}",
    stack="decoder",
    is_of_states=True,
    settings=HiddenStateSettings,
)
