"""What a model can read, by its config: token ids, token types and positions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.models.encoder_decoder import OF_TWO_MODELS

if TYPE_CHECKING:
    from pipeline.text.tokens import TokenSplit

# Their positions are counted from behind the padding token's number.
_COUNTED_FROM_PADDING = frozenset({"roberta", "xlm-roberta"})
_MPNET_PADDING = 1
"""What an MPNet counts from, whatever its config says."""


def most_tokens(config: Any) -> int | None:
    """Return the longest row in tokens that a model of such a config has positions for.

    None is of a model without a limit, as one with relative positions.
    """
    if config.model_type == OF_TWO_MODELS:
        limits = [most_tokens(half) for half in (config.encoder, config.decoder)]
        return min((limit for limit in limits if limit is not None), default=None)
    n_positions: int | None = getattr(config, "max_position_embeddings", None)
    if n_positions is None:
        return None
    if config.model_type in _COUNTED_FROM_PADDING:
        return n_positions - int(config.pad_token_id or 0) - 1
    if config.model_type == "mpnet":
        return n_positions - _MPNET_PADDING - 1
    if config.model_type == "deberta-v2" and not config.position_biased_input:
        return None  # its positions are relative
    return n_positions


def n_token_ids(config: Any) -> int:
    """Return how many token ids a model has embeddings of, a decoder's among them."""
    if config.model_type == OF_TWO_MODELS:
        return min(int(config.encoder.vocab_size), int(config.decoder.vocab_size))
    decoders = getattr(config, "decoder_vocab_size", None)  # of Marian
    return min(int(config.vocab_size), int(decoders or config.vocab_size))


def n_token_types(config: Any) -> int | None:
    """Return how many token types a model has embeddings of; None: it reads no types."""
    of_text = config.encoder if config.model_type == OF_TWO_MODELS else config
    return getattr(of_text, "type_vocab_size", None) or None


def unreadable(
    config: Any, splits: Mapping[str, "TokenSplit"], *, has_token_types: bool
) -> str | None:
    """Return what of a table's rows such a model cannot read, and what to do; None: nothing."""
    ids, types, most = n_token_ids(config), n_token_types(config), most_tokens(config)
    for name, split in splits.items():
        asked = (split.labels, split.decoder_ids) if split.asks_for_pieces else ()
        highest = max(
            int(part.max(initial=-1)) for part in (split.input_ids, *asked) if part is not None
        )
        if highest >= ids:
            return more_ids(f"{name} has token id {highest}", ids)
        highest = int(split.token_type_ids.max(initial=0))
        if has_token_types and types is not None and highest >= types:
            return more_types(f"{name} has tokens of type {highest}", types)
        longest = int(max(split.lengths.max(initial=0), split.n_targets.max(initial=0)))
        if most is not None and longest > most:
            return more_positions(f"{name} has rows of up to {longest} tokens", most)
    return None


def more_ids(found: str, n_ids: int) -> str:
    """Return a line about token ids without an embedding."""
    return (
        f"{found}, and the model has embeddings of {n_ids} (vocab_size), 0 to {n_ids - 1}. Give "
        "it more with resize_token_embeddings and save it, or use the tokenizer that it was "
        "trained with"
    )


def more_types(found: str, n_types: int) -> str:
    """Return a line about token types without an embedding."""
    return (
        f"{found}, and the model has embeddings of {n_types} (type_vocab_size), from type 0. Name "
        "a checkpoint with more, or a tokenizer that gives both texts type 0"
    )


def more_positions(found: str, n_positions: int) -> str:
    """Return a line about tokens without a position."""
    return (
        f"{found}, and the model reads at most {n_positions}. Set tokenizer.max_length to "
        f"{n_positions} or less, or name another checkpoint"
    )
