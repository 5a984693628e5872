"""What a tokenizer gives a model to read, from its files where these say it plainly.

Else it is loaded, which imports torch.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.fingerprint import digest_tokenizer

_FILE = "tokenizer.json"
_CONFIG = "tokenizer_config.json"


def highest_token_id(folder: Path, n_ids: int, *, with_mask: bool) -> int:
    """Return the highest token id that a tokenizer gives; `n_ids` are those of the model.

    A mask token counts only `with_mask`: BART's checkpoints for summaries have no embedding of
    it, and need none.

    Raises:
        CheckpointError: the folder holds no tokenizer that can be used.
    """
    plain = _plain_vocabulary(folder)
    if plain and max(plain.values()) < n_ids:
        return max(plain.values())
    tokenizer = load_tokenizer(folder)
    mask = None if with_mask else tokenizer.mask_token
    return max(number for token, number in tokenizer.get_vocab().items() if token != mask)


def highest_type_of_pair(folder: Path) -> int:
    """Return the highest token type that a model is given of two texts; 0 where it is given none.

    Raises:
        CheckpointError: the folder holds no tokenizer that can be used.
    """
    tokenizer = load_tokenizer(folder)
    if "token_type_ids" not in tokenizer.model_input_names:
        return 0
    return max(tokenizer("a", "a", return_token_type_ids=True)["token_type_ids"], default=0)


def is_same(folder: Path, other: Path) -> bool:
    """Say whether two checkpoints have one tokenizer.

    Raises:
        CheckpointError: one of them holds no tokenizer that can be used.
    """
    if folder.resolve() == other.resolve():
        return True
    pairs = [(folder / name, other / name) for name in (_FILE, _CONFIG)]
    if all(one.is_file() and two.is_file() for one, two in pairs) and all(
        one.read_bytes() == two.read_bytes() for one, two in pairs
    ):
        return True
    one, two = (digest_tokenizer(load_tokenizer(at)) for at in (folder, other))
    return one == two


def _plain_vocabulary(folder: Path) -> dict[str, int] | None:
    """Return the ids of all tokens; None where loading the tokenizer may add some."""
    try:
        rules, config = (
            json.loads((folder / name).read_text(encoding="utf-8")) for name in (_FILE, _CONFIG)
        )
        pieces = rules["model"]["vocab"]
        named = {str(token["content"]): int(token["id"]) for token in rules["added_tokens"]}
        if isinstance(pieces, list):  # of a Unigram, with their scores
            pieces = {piece: number for number, (piece, _) in enumerate(pieces)}
        vocabulary: dict[str, int] = pieces | named
        is_plain = all(token in vocabulary for token in _special_tokens(config))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # whoever loads the tokenizer says what is wrong with it
    return vocabulary if is_plain else None


def _special_tokens(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the tokens that a tokenizer_config.json names."""
    for key, value in config.items():
        if key == "added_tokens_decoder":
            yield from (token["content"] for token in value.values())
        elif key in ("additional_special_tokens", "extra_special_tokens"):
            yield from map(_content, value.values() if isinstance(value, dict) else value)
        elif key.endswith("_token") and value is not None and not isinstance(value, bool):
            yield _content(value)


def _content(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)
