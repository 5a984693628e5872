"""What `prepare` is going to make of a sample of the texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from pipeline.core.checkpoint import load_tokenizer
from pipeline.tasks.task import Task
from pipeline.text.asking import asking_of
from pipeline.text.corpus import Corpus
from pipeline.text.masking_settings import MaskingSettings
from pipeline.text.tokenise import write_tokens
from pipeline.text.tokens import open_tokens

_N_TEXTS = 1000


@dataclass(frozen=True)
class TokenSample:
    """Some texts as rows of a token table."""

    n_texts: int
    unknown_share: float
    """Of the tokens that stand for text, those which are the unknown token, 0 to 1."""
    unknown_target_share: float
    """The same of texts that are to be written; 0 where there are none."""
    mean_square_length: float
    """Of the rows, cut at the longest length, in tokens squared: an attention map's size."""
    rows_per_text: float
    """Several where a question has choices or a text windows; below one where texts are joined."""
    examples_per_text: float
    """The same of examples: a question's choices are one."""


def sample_tokens(
    corpus: Corpus,
    task: Task,
    names: Sequence[str],
    mapping: Mapping[str, str] | None,
    checkpoint: Path,
    max_length: int,
) -> TokenSample:
    """Tokenise up to 1,000 training texts, drawn evenly from all, as `prepare` does.

    `names` and `mapping` are those of the labels, as `write_tokens` takes them.

    Raises:
        CheckpointError: the checkpoint has no fast tokenizer.
        DataError, SettingsError: as `write_tokens`.
    """
    train = corpus["train"]
    chosen = np.unique(np.linspace(0, len(train) - 1, _N_TEXTS, dtype=np.int64))
    tokenizer = load_tokenizer(checkpoint, is_estimate=True)
    asking = asking_of(task.label_kind, MaskingSettings(), checkpoint, tokenizer)
    with TemporaryDirectory() as folder:
        write_tokens(
            {"train": train.take(chosen)},
            task.label_kind,
            names,
            mapping,
            tokenizer,
            max_length,
            Path(folder),
            asking=asking,
        )
        split = open_tokens(Path(folder)).splits["train"]
        lengths = split.lengths.astype(np.float64)
        special = [
            number for number in tokenizer.all_special_ids if number != tokenizer.unk_token_id
        ]
        is_text = ~np.isin(split.input_ids, special)
        targets = split.labels if task.label_kind == "target_text" else split.labels[:0]
        unknown = tokenizer.unk_token_id
        return TokenSample(
            n_texts=len(chosen),
            unknown_share=_share(split.input_ids[is_text], unknown),
            unknown_target_share=_share(targets, unknown),
            mean_square_length=float((lengths**2).mean()),
            rows_per_text=len(split) / len(chosen),
            examples_per_text=split.n_examples / len(chosen),
        )


def _share(tokens: NDArray[np.generic], unknown: int | None) -> float:
    return 0.0 if unknown is None or not len(tokens) else float((tokens == unknown).mean())
