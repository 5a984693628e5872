"""The texts that a model writes for others, by beam search."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from pipeline.text.padding import pad_rows
from pipeline.text.token_row import TokenRow
from pipeline.text.tokens import TokenSplit

_BATCH_ROWS = 32


def write_texts(
    model: PreTrainedModel,
    split: TokenSplit,
    rows: Sequence[int],
    tokenizer: PreTrainedTokenizerFast,
    *,
    num_beams: int,
    max_new_tokens: int,
) -> tuple[str, ...]:
    """Return what a model with a decoder writes for these rows of a split, in their order.

    Without chance: of `num_beams` beginnings the likeliest is followed to its end, or to
    `max_new_tokens` word pieces; one beam is greedy. All else, such as pieces that are never
    written, is as the model's own generation config says. Texts are without special tokens.
    """
    model.eval()
    device = next(model.parameters()).device
    config = copy.deepcopy(model.generation_config)
    config.update(
        num_beams=num_beams, max_new_tokens=max_new_tokens, max_length=None, do_sample=False
    )
    texts = [""] * len(rows)
    order = np.argsort(split.lengths[np.asarray(rows, np.int64)], kind="stable")
    for places in np.split(order, range(_BATCH_ROWS, len(order), _BATCH_ROWS)):
        chosen = [split.row(int(rows[place])) for place in places]
        inputs = pad_rows(
            [TokenRow(row.ids, row.types) for row in chosen],
            int(model.config.pad_token_id or 0),
            has_token_types=False,  # one text has one type, and decoders ask for none
        )
        with torch.inference_mode():
            # Its types take a decorator for a tensor.
            written = model.generate(  # type: ignore[operator]
                **{name: values.to(device) for name, values in inputs.items()},
                generation_config=config,
            )
        found = tokenizer.batch_decode(written, skip_special_tokens=True)
        for place, text in zip(places, found, strict=True):
            texts[place] = text.strip()
    return tuple(texts)
