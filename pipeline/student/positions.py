"""How many tokens a model can read, where its config sets a limit."""

from transformers import PreTrainedConfig

# Their positions are counted from behind the padding token's number.
_COUNTED_FROM_PADDING = frozenset({"roberta", "xlm-roberta", "mpnet"})


def most_tokens(config: PreTrainedConfig) -> int | None:
    """Return the longest row in tokens that such a model has positions for; None: any."""
    n_positions: int | None = getattr(config, "max_position_embeddings", None)
    if n_positions is None:
        return None
    if config.model_type in _COUNTED_FROM_PADDING:
        return n_positions - int(config.pad_token_id or 0) - 1
    if config.model_type == "deberta-v2" and not config.position_biased_input:
        return None  # its positions are relative
    return n_positions
