"""Random rows that ask for word pieces."""

from collections.abc import Sequence

import numpy as np

from pipeline.text.token_row import PiecesAsked, TokenRow


def masked_rows(lengths: Sequence[int], seed: int = 0) -> list[TokenRow]:
    """Return rows of these lengths; every third of each one's tokens is masked."""
    generator = np.random.default_rng(seed)
    rows = []
    for length in lengths:
        ids = generator.integers(5, 32, length, dtype=np.int32)
        masked = np.arange(1, length, 3, dtype=np.int32)
        pieces, ids[masked] = ids[masked], 4
        rows.append(TokenRow(ids, np.zeros_like(ids), PiecesAsked(pieces, masked=masked)))
    return rows


def decoded_rows(lengths: Sequence[tuple[int, int]], seed: int = 0) -> list[TokenRow]:
    """Return rows of these lengths, of what is read and of what is to be written."""
    generator = np.random.default_rng(seed)
    rows = []
    for n_read, n_written in lengths:
        ids = generator.integers(5, 32, n_read, dtype=np.int32)
        pieces = generator.integers(5, 32, n_written, dtype=np.int32)
        given = np.concatenate([[1], pieces])[:n_written].astype(np.int32)
        rows.append(TokenRow(ids, np.zeros_like(ids), PiecesAsked(pieces, decoder_ids=given)))
    return rows
