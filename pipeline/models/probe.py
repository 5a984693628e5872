"""One forward of a model, and any arrays taken from it: states, [CLS], attention maps, logits.

The teacher's capture, a student's step, and the figures of both look at models through this. Values
at padded positions mean nothing; who stores or compares arrays leaves them out.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Literal, Protocol, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from pipeline.models.architecture import HeadReads, head_reads
from pipeline.models.attention import AttentionKind, AttentionTap
from pipeline.models.encoder_decoder import layer_counts


class Taken(Protocol):
    """What a probe has to know of an array's signal before the forward."""

    @property
    def is_of_states(self) -> bool:
        """Whether it is taken from the states of layers."""

    @property
    def attention(self) -> AttentionKind | None:
        """Whose attention maps it is, if any."""


class Takeable(Protocol):
    """An array that can be taken from a forward."""

    @property
    def layer(self) -> int:
        """The layer that it is of, if any."""

    @property
    def signal(self) -> Taken:
        """The signal that it is of."""

    def take(self, forward: "Forward") -> Tensor:
        """Return it from a forward, padded."""


ArrayT = TypeVar("ArrayT", bound=Takeable)
_Made = TypeVar("_Made")


class Probe(Generic[ArrayT]):
    """A model that is set up to give certain arrays of any batch."""

    def __init__(
        self, model: PreTrainedModel, arrays: Iterable[ArrayT], *, has_layers: bool = True
    ) -> None:
        """Attach to `model` what gives attention maps, where any are among the arrays.

        A model that `has_layers` is a Transformer; any other has one state, its `pooler_output`,
        which stands for [CLS] at every layer, and its `attentions` are the weights by which it
        pools its tokens.

        Raises:
            CheckpointError: the model gives no attention maps, or where its [CLS] is is not known.
        """
        self.arrays = tuple(arrays)
        self._model = model
        self._has_layers = has_layers
        self._tap: AttentionTap | None = None
        self._options: dict[str, Any] = {}
        if not has_layers:
            return
        layers: dict[AttentionKind, set[int]] = {"encoder": set(), "decoder": set(), "cross": set()}
        for array in self.arrays:
            if array.signal.attention is not None:
                layers[array.signal.attention].add(array.layer)
        if any(layers.values()):
            self._tap = AttentionTap(
                model,
                sorted(layers["encoder"]),
                decoder_layers=sorted(layers["decoder"]),
                cross_layers=sorted(layers["cross"]),
            )
        self._options["output_hidden_states"] = any(
            array.signal.is_of_states for array in self.arrays
        )
        if model.config.is_encoder_decoder or head_reads(model.config) == "last":
            self._options["use_cache"] = False  # of keys and values, for tokens to come

    def __call__(
        self, inputs: Mapping[str, Tensor], label_ids: Int[Tensor, " target"] | None = None
    ) -> "Forward":
        """Run the model on a padded batch that is on its device.

        `label_ids` are the right token ids at the label positions, where signals need them.
        """
        outputs = self._model(**inputs, **self._options)
        maps: dict[AttentionKind, dict[int, Tensor]] = {}
        if self._tap is not None:
            kinds: tuple[AttentionKind, ...] = ("encoder", "decoder", "cross")
            maps = {kind: self._tap.maps(kind) for kind in kinds}
        return Forward(self._model, inputs, outputs, maps, self.arrays, label_ids, self._has_layers)

    def take(self, forward: "Forward") -> dict[ArrayT, Tensor]:
        """Return the arrays of a forward, as the model gives them, on its device."""
        return {array: array.take(forward) for array in self.arrays}


class Forward:
    """What one forward of a model gave. Batches are padded; batch is the first axis."""

    def __init__(
        self,
        model: PreTrainedModel,
        inputs: Mapping[str, Tensor],
        outputs: Any,
        maps: Mapping[AttentionKind, Mapping[int, Tensor]],
        arrays: tuple[Takeable, ...],
        label_ids: Int[Tensor, " target"] | None,
        has_layers: bool,
    ) -> None:
        self.inputs = inputs
        self.arrays = arrays
        """All that are taken from this forward."""
        self.label_ids = label_ids
        self._config = model.config
        self._outputs = outputs
        self._maps = maps
        self._has_layers = has_layers
        self._made: dict[str, Any] = {}

    @property
    def logits(self) -> Float[Tensor, "..."]:
        """The head's pre-softmax outputs: (row, label) or (row, token, label).

        Language models give (target, token id): those of their label positions alone.
        """
        logits: Tensor = self._outputs.logits
        return logits

    @property
    def masks(self) -> dict[Literal["token", "target"], Bool[Tensor, "row side"]]:
        """True on real tokens and, where there are any, on a decoder's: the targets."""
        masks: dict[Literal["token", "target"], Tensor] = {
            "token": self.inputs["attention_mask"].to(torch.bool)
        }
        if "decoder_input_ids" in self.inputs:
            masks["target"] = self.inputs["is_target"].to(torch.bool)
        return masks

    @property
    def n_states(self) -> int:
        """The number of the encoder's states, the embedding output included."""
        return layer_counts(self._config)[0] + 1

    def states(
        self, layer: int, stack: Literal["encoder", "decoder"] = "encoder"
    ) -> Float[Tensor, "row token hidden"]:
        """Return the token states of a layer; 0 is the embedding output."""
        n_layers, n_decoder = layer_counts(self._config)
        if stack == "decoder":
            states = self._outputs.decoder_hidden_states
        elif self._config.is_encoder_decoder:
            states = self._outputs.encoder_hidden_states
        else:
            states = self._outputs.hidden_states
        n_wanted = 1 + (n_decoder if stack == "decoder" else n_layers)
        assert len(states) == n_wanted, f"{len(states)} states of {n_wanted - 1} layers"
        state: Tensor = states[layer]
        return state

    def cls(self, layer: int) -> Float[Tensor, "row hidden"]:
        """Return what the task's head reads of a layer's states."""
        if not self._has_layers:
            pooled: Tensor = self._outputs.pooler_output
            return pooled
        reads = head_reads(self._config)
        assert reads is not None, "a model of two stacks has no [CLS]"
        ids, mask = self.inputs["input_ids"], self.inputs["attention_mask"]
        return cls_state(self.states(layer), ids, mask, reads, self._config.pad_token_id or 0)

    def maps(
        self, layer: int, kind: AttentionKind = "encoder"
    ) -> Float[Tensor, "row head query key"]:
        """Return a layer's attention probabilities, before dropout."""
        return self._maps[kind][layer]

    @property
    def pooling(self) -> Float[Tensor, "row token"]:
        """The weights by which a network that is no Transformer pools its tokens."""
        weights: Tensor = self._outputs.attentions
        return weights

    def once(self, name: str, make: Callable[[], _Made]) -> _Made:
        """Return what `make` gives, which is called only the first time."""
        if name not in self._made:
            self._made[name] = make()
        made: _Made = self._made[name]
        return made


def cls_state(
    states: Float[Tensor, "batch token hidden"],
    input_ids: Int[Tensor, "batch token"],
    mask: Int[Tensor, "batch token"],
    reads: HeadReads,
    pad_id: int,
) -> Float[Tensor, "batch hidden"]:
    """Return the state that the head reads, of one layer; `mask` is 1 on real tokens."""
    if reads == "first":
        return states[:, 0]
    if reads == "mean":
        return (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
    # As Transformers' heads find it: the last token of another id than the padding's.
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)
    last = (positions * (input_ids != pad_id)).argmax(1)
    return states[torch.arange(len(states), device=states.device), last]
