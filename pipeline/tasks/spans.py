"""The texts with which a model answers questions, from its logits of the tokens' windows.

Of all windows of a question, the answer is the one from token a to token b that maximises

    z_start[a] + z_end[b],    a <= b < a + 30, both of the text

(Devlin et al. 2019, 1810.04805, section 4.2; the limit is that of their code). Where some
questions have no answer, it is empty if that sum is not above the least that a window has for
its first token alone (section 4.3; all windows must say that there is none).
"""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from pipeline.tasks.predictions import AnswerTexts
from pipeline.tasks.question_answering import NO_ANSWER
from pipeline.text.tokens import TokenSplit

MOST_TOKENS = 30
"""Tokens of the longest answer."""

_NOT_FINITE = 1e30
"""What stands for logits that are infinite or no number, which a score refuses later."""


def answer_texts(
    flat_logits: Float[np.ndarray, "token 2"], split: TokenSplit
) -> AnswerTexts | None:
    """Return a model's answers to the labelled questions of a split; None without one."""
    windows = split.table["window"].combine_chunks()
    first_rows = np.flatnonzero(np.asarray(windows) == 0)
    accepted = split.table["answers"].take(first_rows).to_pylist()
    labelled = [number for number, texts in enumerate(accepted) if texts is not None]
    if not labelled:
        return None
    has_unanswerable = any(not accepted[number] for number in labelled)
    begins, ends = best_spans(flat_logits, split, first_rows, may_be_empty=has_unanswerable)
    texts = split.table["text_pair"].take(first_rows).to_pylist()
    return AnswerTexts(
        tuple(texts[number][begins[number] : ends[number]] for number in labelled),
        tuple(tuple(accepted[number]) for number in labelled),
    )


def best_spans(
    flat_logits: Float[np.ndarray, "token 2"],
    split: TokenSplit,
    first_rows: NDArray[np.int64],
    *,
    may_be_empty: bool,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each question's answer begins and ends in its text, in characters.

    The rows of question i are those from first_rows[i]. Both ends are 0 where the answer is
    empty. Of equal sums the first wins, and of those with one beginning the shortest.
    """
    finite = np.nan_to_num(
        flat_logits.astype(np.float64),
        nan=-_NOT_FINITE,
        posinf=_NOT_FINITE,
        neginf=-_NOT_FINITE,
    )
    start, end = finite.T
    places = [split.table[name].combine_chunks().flatten() for name in ("char_starts", "char_ends")]
    char_starts, char_ends = (np.asarray(column).astype(np.int64) for column in places)
    sums, lengths = _best_from(
        start, end, np.repeat(np.arange(len(split)), split.lengths), char_starts >= 0
    )
    first_tokens = split.offsets[first_rows]
    best = np.maximum.reduceat(sums, first_tokens)
    questions = np.repeat(np.arange(len(first_rows)), np.diff([*first_tokens, len(sums)]))
    is_best = np.flatnonzero(sums == best[questions])
    _, first = np.unique(questions[is_best], return_index=True)
    begins = is_best[first]
    is_empty = np.isneginf(best)  # no token of the text
    if may_be_empty:
        of_window = (start + end)[split.offsets[:-1] + NO_ANSWER]
        is_empty |= best <= np.minimum.reduceat(of_window, first_rows)
    return (
        np.where(is_empty, 0, char_starts[begins]),
        np.where(is_empty, 0, char_ends[begins + lengths[begins]]),
    )


def _best_from(
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    rows: NDArray[np.int64],
    is_of_text: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the largest sum of an answer from each token, and how many more tokens it has."""
    sums = np.where(is_of_text, start + end, -np.inf)
    lengths = np.zeros(len(sums), dtype=np.int64)
    for length in range(1, min(MOST_TOKENS, len(sums))):
        both = is_of_text[:-length] & is_of_text[length:] & (rows[:-length] == rows[length:])
        own = np.where(both, start[:-length] + end[length:], -np.inf)
        is_larger = own > sums[:-length]
        sums[:-length][is_larger] = own[is_larger]
        lengths[:-length][is_larger] = length
    return sums, lengths
