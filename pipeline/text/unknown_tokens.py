"""What a tokenizer does not know of the texts: how much of them is its unknown token."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.text.tokens import Tokens, TokenSplit

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MANY_TOKENS = 0.05
"""Share of unknown tokens among all, special ones left out, from which on it is said."""
MANY_ROWS = 0.01
"""Share of rows with no other token, from which on it is said."""

_ROWS_READ = 1000
_N_EXAMPLES = 5
_EXAMPLE_LENGTH = 20


@dataclass(frozen=True)
class UnknownTokens:
    """The unknown tokens of one split's texts, or of the texts that are to be written."""

    what: str
    """`texts` or `targets`."""
    n_unknown: int
    n_tokens: int
    """All tokens but special ones."""
    n_lost: int
    """Rows of which no other token is left."""
    n_rows: int
    """Rows with a token."""
    examples: tuple[str, ...]
    """What the most frequent unknown tokens stand for."""

    @property
    def are_many(self) -> bool:
        """Whether models can tell many of the texts apart less than their readers."""
        return (
            self.n_unknown >= MANY_TOKENS * self.n_tokens > 0
            or self.n_lost >= MANY_ROWS * self.n_rows > 0
        )

    def __str__(self) -> str:
        share = self.n_unknown / self.n_tokens
        examples = f", such as {', '.join(map(repr, self.examples))}" * bool(self.examples)
        return (
            f"{share:.1%} of the tokens of {self.what} ({self.n_unknown:,} of {self.n_tokens:,}) "
            f"are the unknown token{examples}; {self.n_lost:,} of {self.n_rows:,} {self.what} have "
            "no other. Name a checkpoint whose tokenizer knows them as tokenizer.checkpoint"
        )


def count_unknown(
    tokens: Tokens, split: str, tokenizer: "PreTrainedTokenizerFast"
) -> list[UnknownTokens]:
    """Return the unknown tokens of a split's texts, and of its targets where it has some.

    Nothing where the tokenizer has no unknown token, or one that also begins, ends or separates
    texts, as those that read bytes have.

    Raises:
        DataError: there is no other token in any row.
    """
    unknown = tokenizer.unk_token_id
    marks = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.cls_token_id)
    if unknown is None or unknown in (*marks, tokenizer.sep_token_id, tokenizer.mask_token_id):
        return []
    own = tokens.splits[split]
    found = [_count("texts", own, _without_masks(own), own.offsets, tokenizer)]
    if own.decoder_ids is not None:
        labels = own.labels.astype(np.int32)
        found.append(_count("targets", own, labels, own.label_offsets, tokenizer))
    for one in found:
        if one.n_unknown == one.n_tokens > 0:
            raise DataError(f"{split}: {one}.")
    return found


def _without_masks(split: TokenSplit) -> NDArray[np.int32]:
    """Return the token ids of all rows, with what masks hide in their places."""
    if split.masked is None:
        return split.input_ids
    ids = split.input_ids.copy()
    ids[np.repeat(split.offsets[:-1], split.n_targets) + split.masked] = split.labels
    return ids


def _count(
    what: str,
    split: TokenSplit,
    ids: NDArray[np.int32],
    offsets: NDArray[np.int64],
    tokenizer: "PreTrainedTokenizerFast",
) -> UnknownTokens:
    special = [number for number in tokenizer.all_special_ids if number != tokenizer.unk_token_id]
    is_unknown, is_own = ids == tokenizer.unk_token_id, ~np.isin(ids, special)
    sums = [np.concatenate([[0], np.cumsum(held)]) for held in (is_unknown, is_own)]
    n_unknown, n_own = (np.diff(total[offsets]) for total in sums)
    rows = np.flatnonzero(n_unknown)
    columns = ["text_pair"] if what == "targets" else ["text"]
    if what == "texts" and split.decoder_ids is None:
        columns.append("text_pair")
    texts = [
        text
        for row in split.table.select(columns).take(rows[:_ROWS_READ]).to_pylist()
        for text in row.values()
        if text
    ]
    return UnknownTokens(
        what=what,
        n_unknown=int(n_unknown.sum()),
        n_tokens=int(n_own.sum()),
        n_lost=int(((n_unknown == n_own) & (n_own > 0)).sum()),
        n_rows=int((n_own > 0).sum()),
        examples=_examples(texts, tokenizer, are_targets=what == "targets"),
    )


def _examples(
    texts: Sequence[str], tokenizer: "PreTrainedTokenizerFast", *, are_targets: bool
) -> tuple[str, ...]:
    """Return what unknown tokens stand for in texts, the most frequent first."""
    if not texts:
        return ()
    encoded = tokenizer(
        None if are_targets else [*texts],
        text_target=[*texts] if are_targets else None,
        add_special_tokens=False,
        return_attention_mask=False,
        verbose=False,
    )
    seen: Counter[str] = Counter()
    for text, encoding in zip(texts, encoded.encodings or (), strict=True):
        for number, (start, stop) in zip(encoding.ids, encoding.offsets, strict=True):
            if number == tokenizer.unk_token_id:
                seen[text[start:stop]] += 1
    return tuple(text[:_EXAMPLE_LENGTH] for text, _ in seen.most_common(_N_EXAMPLES))
