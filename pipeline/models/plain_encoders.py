"""The tensors of common encoders, to know a whole checkpoint by its header, without torch.

Transformers itself says what is wrong with a checkpoint, and takes seconds to import. Every stage
begins with the check of params.yaml, so what is plainly whole is let pass without it. All else,
such as old tensor names or a type that is not listed here, is Transformers' to judge.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from pipeline.core.weights import Shape

_Sizes = tuple[str, ...]
"""Names of a config's sizes, one for each axis of a weight."""


@dataclass(frozen=True)
class _Encoder:
    """Names of an encoder's weights with their sizes. Two axes are a linear map, which has a bias,
    and one is a norm, which has one too; embeddings have none."""

    prefix: str
    """What Transformers calls the encoder within a model with a head."""
    n_layers: str
    layer: str
    """Where layer 0 to n - 1 are, each behind its number."""
    embeddings: Mapping[str, _Sizes]
    outside: Mapping[str, _Sizes]
    inside: Mapping[str, _Sizes]
    """Those of each layer."""

    def shapes(self, config: Mapping[str, Any]) -> dict[str, Shape]:
        """Return the shapes by name, without the prefix."""
        axes = {f"{name}.weight": sizes for name, sizes in self.embeddings.items()}
        named = dict(self.outside)
        for layer in range(config[self.n_layers]):
            named |= {f"{self.layer}{layer}.{name}": sizes for name, sizes in self.inside.items()}
        for name, sizes in named.items():
            axes |= {f"{name}.weight": sizes, f"{name}.bias": sizes[:1]}
        return {name: tuple(config[size] for size in sizes) for name, sizes in axes.items()}


def _bert(prefix: str, width: str = "hidden_size") -> _Encoder:
    """Return BERT, whose embeddings are `width` wide."""
    square, up = ("hidden_size", "hidden_size"), ("intermediate_size", "hidden_size")
    return _Encoder(
        prefix=prefix,
        n_layers="num_hidden_layers",
        layer="encoder.layer.",
        embeddings={
            "embeddings.word_embeddings": ("vocab_size", width),
            "embeddings.position_embeddings": ("max_position_embeddings", width),
            "embeddings.token_type_embeddings": ("type_vocab_size", width),
        },
        outside={
            "embeddings.LayerNorm": (width,),
            **({} if width == "hidden_size" else {"embeddings_project": ("hidden_size", width)}),
        },
        inside={
            "attention.self.query": square,
            "attention.self.key": square,
            "attention.self.value": square,
            "attention.output.dense": square,
            "attention.output.LayerNorm": ("hidden_size",),
            "intermediate.dense": up,
            "output.dense": up[::-1],
            "output.LayerNorm": ("hidden_size",),
        },
    )


_DISTILBERT = _Encoder(
    prefix="distilbert",
    n_layers="n_layers",
    layer="transformer.layer.",
    embeddings={
        "embeddings.word_embeddings": ("vocab_size", "dim"),
        "embeddings.position_embeddings": ("max_position_embeddings", "dim"),
    },
    outside={"embeddings.LayerNorm": ("dim",)},
    inside={
        "attention.q_lin": ("dim", "dim"),
        "attention.k_lin": ("dim", "dim"),
        "attention.v_lin": ("dim", "dim"),
        "attention.out_lin": ("dim", "dim"),
        "sa_layer_norm": ("dim",),
        "ffn.lin1": ("hidden_dim", "dim"),
        "ffn.lin2": ("dim", "hidden_dim"),
        "output_layer_norm": ("dim",),
    },
)

_ENCODERS = {
    "bert": _bert("bert"),
    "distilbert": _DISTILBERT,
    "roberta": _bert("roberta"),
    "xlm-roberta": _bert("roberta"),
}
PLAIN_TYPES = (*_ENCODERS, "electra")


def is_plainly_whole(config: Mapping[str, Any], shapes: Mapping[str, Shape]) -> bool:
    """Say whether a file has each tensor of the encoder that config.json describes, and no more.

    `shapes` are those of the file by name. Of a head nothing is said. False says no more than
    that Transformers has to be asked.
    """
    kind = config.get("model_type")
    if kind not in PLAIN_TYPES or config.get("is_decoder") or config.get("add_cross_attention"):
        return False
    try:
        encoder = _encoder(config)
        expected = encoder.shapes(config)
    except (KeyError, TypeError):  # a size that config.json leaves to Transformers, or no number
        return False
    prefix = f"{encoder.prefix}."
    if not any(name.startswith(prefix) for name in shapes):
        prefix = ""
    if any(shapes.get(f"{prefix}{name}") != shape for name, shape in expected.items()):
        return False
    return all(name.removeprefix(prefix) in expected for name in shapes if encoder.layer in name)


def plain_limits(config: Mapping[str, Any], shapes: Mapping[str, Shape]) -> SimpleNamespace | None:
    """Return config.json's own values where they say all that `models.limits` reads of a config.

    None where a value is left to Transformers' defaults, or the file is not plainly whole.
    """
    is_said = "pad_token_id" in config and is_plainly_whole(config, shapes)
    return SimpleNamespace(**config) if is_said else None


def _encoder(config: Mapping[str, Any]) -> _Encoder:
    if config["model_type"] == "electra":
        is_projected = config["embedding_size"] != config["hidden_size"]
        return _bert("electra", "embedding_size" if is_projected else "hidden_size")
    return _ENCODERS[config["model_type"]]
