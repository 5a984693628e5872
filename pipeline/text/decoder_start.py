"""The token that a decoder is given when it is to write the first piece of a text."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.checkpoint import read_config
from pipeline.core.errors import SettingsError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def decoder_start(checkpoint: Path, tokenizer: "PreTrainedTokenizerFast") -> int:
    """Return the start token that a checkpoint names, or else the tokenizer's.

    The checkpoint names it in its config, its decoder's or the one for generation: T5 and Marian
    begin with the padding token, BART with the end token. Of a tokenizer, it is the first that
    it has of: the token that begins a text, [CLS], padding.

    Raises:
        SettingsError: neither has one.
    """
    config = read_config(checkpoint)
    path = checkpoint / "generation_config.json"
    generation = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    places = (config, config.get("decoder"), generation)
    named = [place.get("decoder_start_token_id") for place in places if isinstance(place, dict)]
    own = [tokenizer.bos_token_id, tokenizer.cls_token_id, tokenizer.pad_token_id]
    for number in (*named, *own):
        if isinstance(number, int):
            return number
    raise SettingsError(
        [
            "tokenizer.checkpoint: neither its config nor its tokenizer says with which token a "
            "decoder begins, which a sequence_to_sequence needs; set decoder_start_token_id in "
            "its config.json"
        ]
    )
