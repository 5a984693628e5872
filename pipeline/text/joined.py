"""Two token tables as one, where the rows of one were made from those of the other."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.text.tokens import Tokens, TokenSplit


def check_source(tokens: Tokens, made: Tokens, called: str, *, made_by: str) -> None:
    """Check that the rows of a table were made from those of another.

    `called` is what messages call them, `made_by` the stage that makes them.

    Raises:
        DataError: they were not; says in what they differ.
    """
    pairs = {
        "source": (made.source, tokens.digest),
        "tokenizer": (made.tokenizer, tokens.tokenizer),
        "labels": (made.labels, tokens.labels),
        "max_length": (made.max_length, tokens.max_length),
    }
    for name, (found, expected) in pairs.items():
        if found != expected:
            raise DataError(
                f"the {called} are not of this token table: they have {name} "
                f"{_brief(found)}, the table has {_brief(expected)}. Run 'dvc repro {made_by}'."
            )


def _brief(value: object) -> str:
    return value[:12] if isinstance(value, str) else str(value)


def join_splits(first: TokenSplit, second: TokenSplit) -> TokenSplit:
    """Return the rows of both, one behind the other, copied into memory."""
    return TokenSplit(
        keys=np.concatenate([first.keys, second.keys]),
        offsets=_joined(first.offsets, second.offsets),
        input_ids=np.concatenate([first.input_ids, second.input_ids]),
        token_type_ids=np.concatenate([first.token_type_ids, second.token_type_ids]),
        labels=np.concatenate([first.labels, second.labels]),
        label_offsets=_joined(first.label_offsets, second.label_offsets),
        first_rows=_joined(first.first_rows, second.first_rows),
        table=pa.concat_tables([first.table, second.table]),
        masked=_of_both(first.masked, second.masked),
        decoder_ids=_of_both(first.decoder_ids, second.decoder_ids),
    )


def _joined(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the offsets of both, one behind the other."""
    return np.concatenate([first, first[-1] + second[1:]])


def _of_both(
    first: NDArray[np.int32] | None, second: NDArray[np.int32] | None
) -> NDArray[np.int32] | None:
    return None if first is None or second is None else np.concatenate([first, second])
