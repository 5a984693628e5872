"""Masks over word pieces, drawn once: which are asked for, and what stands in their places.

Devlin et al. 2019, 1810.04805, section 3.1: of the pieces that are asked for, 80 of 100 become
the mask token, 10 another piece at random, 10 stay. What a window's masks are depends on the
seed, the split and the window's number alone, not on how many windows there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import SettingsError
from pipeline.text.masking_settings import MaskingSettings
from pipeline.text.token_row import PiecesAsked
from pipeline.text.tokens import SPLITS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_MASK_SHARE = 0.8
_RANDOM_SHARE = 0.1

NO_WORD = -1
"""The word of a piece that is of no text."""


@dataclass(frozen=True)
class Masker:
    """Draws the masks of one split's windows."""

    settings: MaskingSettings
    mask_id: int
    special_ids: NDArray[np.int32]
    """(special,), pieces that are never masked, and never come in another's place."""
    plain_ids: NDArray[np.int32]
    """(piece,), all others."""
    split: str

    def draw(
        self, window: int, ids: NDArray[np.int32], words: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], PiecesAsked]:
        """Return a window's ids with masks, and the pieces that they ask for.

        `words` says which word of the window each piece is of, `NO_WORD` of none. As many
        words, or pieces, as `probability` says are masked, on average exactly, but at least one
        where there is one.
        """
        seed = [self.settings.seed, SPLITS.index(self.split), window]
        generator = np.random.default_rng(seed)
        may_be = (words != NO_WORD) & ~np.isin(ids, self.special_ids)
        places = np.flatnonzero(may_be)
        units = words[places] if self.settings.whole_words else places
        distinct = np.unique(units)
        expected = self.settings.probability * len(distinct)
        n_chosen = min(len(distinct), max(1, int(expected + generator.random())))
        chosen = generator.permutation(distinct)[:n_chosen]
        masked = places[np.isin(units, chosen)]
        fate = generator.random(len(masked))
        drawn = generator.choice(self.plain_ids, len(masked))
        shown = ids.copy()
        shown[masked] = np.where(
            fate < _MASK_SHARE,
            self.mask_id,
            np.where(fate < _MASK_SHARE + _RANDOM_SHARE, drawn, ids[masked]),
        )
        return shown, PiecesAsked(ids[masked], masked=masked.astype(np.int32))


def masker_of(
    tokenizer: "PreTrainedTokenizerFast", settings: MaskingSettings, split: str
) -> Masker:
    """Return what draws the masks of a split.

    Raises:
        SettingsError: the tokenizer has no mask token.
    """
    if tokenizer.mask_token_id is None:
        raise SettingsError(
            [
                "tokenizer.checkpoint: its tokenizer has no mask token, which a masked_lm needs; "
                "name the checkpoint of a masked language model"
            ]
        )
    special = _special_ids(tokenizer)
    every = np.array(sorted(tokenizer.get_vocab().values()), dtype=np.int32)
    plain = every[~np.isin(every, special)]
    return Masker(settings, tokenizer.mask_token_id, special, plain, split)


def _special_ids(tokenizer: "PreTrainedTokenizerFast") -> NDArray[np.int32]:
    added = tokenizer.added_tokens_decoder
    found: Sequence[int] = [number for number, token in added.items() if token.special]
    return np.unique([*tokenizer.all_special_ids, *found]).astype(np.int32)
