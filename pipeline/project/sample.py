"""What `prepare` is going to make of a sample of the texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pipeline.core.checkpoint import load_tokenizer
from pipeline.tasks.task import MaskingSettings, Task
from pipeline.tasks.token_table import write_tokens
from pipeline.text.corpus import Corpus
from pipeline.text.tokenise import TokenizerSettings
from pipeline.text.tokens import open_tokens
from pipeline.text.unknown_tokens import UnknownTokens, count_unknown

_N_TEXTS = 1000


@dataclass(frozen=True)
class TokenSample:
    """Some texts as rows of a token table."""

    n_texts: int
    unknown: tuple[UnknownTokens, ...]
    """Of the texts, and of those that are to be written: what the tokenizer does not know."""
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
        DataError, SettingsError: as `write_tokens`; or it knows nothing of the texts.
    """
    train = corpus["train"]
    chosen = np.unique(np.linspace(0, len(train) - 1, _N_TEXTS, dtype=np.int64))
    tokenizer = load_tokenizer(checkpoint, is_estimate=True)
    settings = TokenizerSettings(checkpoint=str(checkpoint), max_length=max_length)
    how = task.tokenising(tokenizer, settings, MaskingSettings(), checkpoint)
    with TemporaryDirectory() as folder:
        write_tokens({"train": train.take(chosen)}, task, names, mapping, how, Path(folder))
        tokens = open_tokens(Path(folder))
        split = tokens.splits["train"]
        lengths = split.lengths.astype(np.float64)
        return TokenSample(
            n_texts=len(chosen),
            unknown=tuple(count_unknown(tokens, "train", tokenizer)),
            mean_square_length=float((lengths**2).mean()),
            rows_per_text=len(split) / len(chosen),
            examples_per_text=split.n_examples / len(chosen),
        )
