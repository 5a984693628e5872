"""Attention probabilities: of an encoder, of a decoder beside it, and of that to the encoder.

Queries of cross-attention are the decoder's tokens, keys the encoder's. What a student that pools
its tokens by attention has in their place, `POOLING`, is no store's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.models.architecture import Architecture
from pipeline.signals.axis import Axis
from pipeline.signals.signal import (
    STATE_ENCODINGS,
    Array,
    Encoding,
    Heads,
    LayerSettings,
    Signal,
)

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.models.probe import Forward

MAP_ENCODINGS: tuple[Encoding, ...] = (*STATE_ENCODINGS, "uint8_cbrt")


class AttentionSettings(LayerSettings):
    """The attention probabilities, of layers from 1 on."""

    heads: Heads = "all"
    """`mean` keeps one map a layer, averaged over the heads."""
    encoding: Encoding = "float16"
    """`uint8_cbrt` takes half the space of float16."""

    def _array(self, signal: Signal, layer: int) -> Array:
        return Array(signal, layer, self.heads)


def _take(forward: Forward, array: Array) -> Tensor:
    assert array.signal.attention is not None
    every_head = forward.maps(array.layer, array.signal.attention)
    return every_head.mean(1, True) if array.heads == "mean" else every_head


def _maps(array: Array, model: Architecture) -> tuple[int, ...]:
    return (1 if array.heads == "mean" else model.n_heads,)


ATTENTIONS = Signal(
    name="attentions",
    called="attention maps",
    axis=Axis.TOKEN_PAIR,
    take=_take,
    width=_maps,
    array_name="attentions/{layer}{mean}",
    encodings=MAP_ENCODINGS,
    stack="encoder",
    first_layer=1,
    attention="encoder",
    settings=AttentionSettings,
)
DECODER_ATTENTIONS = Signal(
    name="decoder_attentions",
    called="attention maps of a decoder",
    axis=Axis.TARGET_PAIR,
    take=_take,
    width=_maps,
    array_name="attentions/decoder-{layer}{mean}",
    encodings=MAP_ENCODINGS,
    stack="decoder",
    first_layer=1,
    attention="decoder",
    settings=AttentionSettings,
)
CROSS_ATTENTIONS = Signal(
    name="cross_attentions",
    called="maps of cross-attention",
    axis=Axis.CROSS_PAIR,
    take=_take,
    width=_maps,
    array_name="attentions/cross-{layer}{mean}",
    encodings=MAP_ENCODINGS,
    stack="decoder",
    first_layer=1,
    attention="cross",
    settings=AttentionSettings,
)


def _take_pooling(forward: Forward, array: Array) -> Tensor:
    return forward.pooling


POOLING = Signal(name="pooling", called="attention pooling", axis=Axis.TOKEN, take=_take_pooling)
"""Weights by which a student's head reads the tokens; they sum to 1, padding has 0."""
