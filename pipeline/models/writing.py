"""The texts that a model with a decoder writes, by beam search and without chance."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from pipeline.models.encoder_decoder import reads_token_types
from pipeline.models.inputs import Inputs
from pipeline.tasks.sequence_to_sequence import end_of_text
from pipeline.text.token_row import TokenRow
from pipeline.text.tokens import TokenSplit

Pieces = NDArray[np.int32]
"""Word pieces of a text, (piece,)."""

_ROWS_AT_ONCE = 32


class Writer:
    """A model that is set up to write.

    Of `num_beams` beginnings the likeliest is followed to its end, or to `max_new_tokens` word
    pieces; one beam takes the likeliest piece each time. All else, such as pieces that are
    never written, is as the model's own generation config says.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        start: int,
        end: int,
        num_beams: int,
        max_new_tokens: int,
        length_penalty: float | None = None,
    ) -> None:
        """Let texts begin with the piece `start`, which is not written, and end with `end`."""
        self._model: Any = model.eval()  # not every model can be typed as one that writes
        self._device = next(model.parameters()).device
        self._inputs = Inputs(int(model.config.pad_token_id or 0), reads_token_types(model.config))
        self._end = end
        assert model.generation_config is not None
        config: GenerationConfig = deepcopy(model.generation_config)
        config.num_beams, config.num_return_sequences, config.do_sample = num_beams, 1, False
        config.max_length, config.max_new_tokens = None, max_new_tokens
        config.pad_token_id, config.eos_token_id = self._inputs.pad_id, end
        config.decoder_start_token_id = start
        if length_penalty is not None:
            config.length_penalty = length_penalty
        self._config = config

    def write(self, rows: Sequence[TokenRow], batch_size: int) -> Iterator[Pieces]:
        """Yield what the model writes for each row, in their order, the end included.

        A text that would be longer than the longest has none. Rows of similar length should be
        neighbours; padding changes no text.
        """
        for first in range(0, len(rows), batch_size):
            sources = [row._replace(asked=None) for row in rows[first : first + batch_size]]
            yield from self._write(sources)

    @torch.inference_mode()
    def _write(self, sources: Sequence[TokenRow]) -> list[Pieces]:
        inputs: dict[str, Any] = self._inputs.pad(sources, self._device)
        written = self._model.generate(**inputs, generation_config=self._config)
        return [self._until_end(row) for row in written[:, 1:].cpu().numpy().astype(np.int32)]

    def _until_end(self, pieces: Pieces) -> Pieces:
        ends = np.flatnonzero(pieces == self._end)
        return pieces[: ends[0] + 1] if len(ends) else pieces


def write_texts(
    model: PreTrainedModel,
    split: TokenSplit,
    rows: Sequence[int],
    tokenizer: PreTrainedTokenizerFast,
    *,
    num_beams: int,
    max_new_tokens: int,
) -> tuple[str, ...]:
    """Return what a model writes for these rows of a split, which have targets, as texts.

    Special tokens are left out, and blanks at either end.
    """
    assert split.decoder_ids is not None
    writer = Writer(
        model,
        start=int(split.decoder_ids[0]),
        end=end_of_text(tokenizer),
        num_beams=num_beams,
        max_new_tokens=max_new_tokens,
    )
    numbers = np.asarray(rows, dtype=np.int64)
    order = numbers[np.argsort(split.lengths[numbers], kind="stable")].tolist()
    pieces = writer.write([split.row(row) for row in order], _ROWS_AT_ONCE)
    written = dict(zip(order, pieces, strict=True))
    found = tokenizer.batch_decode(
        [written[row].tolist() for row in numbers.tolist()], skip_special_tokens=True
    )
    return tuple(text.strip() for text in found)
