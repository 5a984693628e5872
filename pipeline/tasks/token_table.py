"""The token table of a task: made from a corpus, copied, or read with another tokenizer."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from pipeline.core.errors import DataError
from pipeline.core.fingerprint import digest_file, digest_tokenizer
from pipeline.tasks.task import TEXTS_PER_CALL, Task, Tokenising
from pipeline.text.corpus import Corpus
from pipeline.text.tokenise import write_table
from pipeline.text.tokens import ALPHABETIC, SUMMARY_NAME, Tokens, TokenSplit, open_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_REMEDIES = {
    "masking": "Set task.masking to that.",
    "decoder_start": "Name the checkpoint that it was made for as tokenizer.checkpoint.",
}


def write_tokens(
    corpus: Corpus,
    task: Task,
    labels: Sequence[str],
    mapping: Mapping[str, str] | None,
    how: Tokenising,
    folder: Path,
) -> dict[str, Any]:
    """Tokenise a corpus into an empty folder and return its summary, `tokens.json`.

    `labels` are their names, `mapping` is the name by the source's value where the user gave one.

    Raises:
        DataError: a label that is not among `labels`, or is no number or choice; a text that the
            task cannot read.
        SettingsError: the tokenizer lacks a token that the task needs.
    """
    encoded = task.encode(corpus, labels, mapping)
    splits = {
        split: task.tokenised(table, encoded[split], how, split) for split, table in corpus.items()
    }
    made_with = task.made_with(how)
    if task.is_alphabetic(corpus, mapping):
        made_with["label_order"] = ALPHABETIC
    return write_table(
        splits,
        task,
        labels,
        digest_tokenizer(how.tokenizer),
        how.max_length,
        folder,
        made_with=made_with,
    )


def copy_tokens(source: Path, task: Task, how: Tokenising, folder: Path) -> dict[str, Any]:
    """Copy a token table that somebody else prepared into an empty folder; return its summary.

    Raises:
        DataError: it is not a token table, is damaged, or was made with another tokenizer,
            length limit, kind of labels or way to make them than these.
    """
    tokens = open_tokens(source)
    if tokens.label_kind != task.label_kind:
        raise DataError(
            f"{source} has labels of the kind '{tokens.label_kind}', task.kind needs "
            f"'{task.label_kind}'. Set task.kind to the task that it was made for."
        )
    for split, rows in tokens.splits.items():
        if not rows.table.schema.equals(task.schema):
            raise DataError(
                f"{source / f'{split}.arrow'} has other columns than a token table of a "
                f"{task.kind}. Make it again."
            )
    pairs = {
        "tokenizer": (tokens.tokenizer[:12], digest_tokenizer(how.tokenizer)[:12]),
        "max_length": (tokens.max_length, how.max_length),
    }
    for name, (found, wanted) in pairs.items():
        if found != wanted:
            raise DataError(
                f"{source} was made with {name} {found}, params.yaml has {wanted}. Set tokenizer "
                "to what it was made with: a store's tokenizer is in its folder 'teacher'."
            )
    summary: dict[str, Any] = json.loads((source / SUMMARY_NAME).read_text(encoding="utf-8"))
    for name, wanted in task.made_with(how).items():
        if summary.get(name) != wanted:
            raise DataError(
                f"{source} was made with {name} {summary.get(name)}, here it is {wanted}. "
                f"{_REMEDIES[name]}"
            )
    for split in tokens.splits:
        name = f"{split}.arrow"
        shutil.copyfile(source / name, folder / name)
        if digest_file(folder / name) != summary["splits"][split]["sha256"]:
            raise DataError(f"{source / name} is damaged. Restore it with 'dvc checkout'.")
    shutil.copyfile(source / SUMMARY_NAME, folder / SUMMARY_NAME)
    return summary


def split_for(
    tokens: Tokens,
    task: Task,
    split: str,
    tokenizer: "PreTrainedTokenizerFast",
    *,
    most_tokens: int | None,
    is_shown: bool,
) -> TokenSplit:
    """Return a split for a student with this tokenizer: itself, where it is the table's own.

    Keys, labels and the order of the rows stay; only the tokens are others, cut to as many
    as the table, the tokenizer and the model (`most_tokens`, if it has a limit) allow.

    Raises:
        DataError: rows in the table's own tokens are longer than the model can read, a text
            has no token of the student's, or labels stand at the teacher's tokens.
    """
    own = tokens.splits[split]
    if digest_tokenizer(tokenizer) == tokens.tokenizer:
        longest = int(max(own.lengths.max(initial=0), own.n_targets.max(initial=0)))
        if most_tokens is not None and longest > most_tokens:
            raise DataError(
                f"{split} has rows of up to {longest} tokens, the student reads at most "
                f"{most_tokens}. Start it from another checkpoint, or lower tokenizer.max_length."
            )
        return own
    if task.not_retokenised:
        raise DataError(task.not_retokenised)
    limits = tokens.max_length, tokenizer.model_max_length, most_tokens
    texts = own.table["text"].to_pylist()
    has_pairs = own.table["text_pair"].null_count < len(own)
    pairs = own.table["text_pair"].to_pylist() if has_pairs else None
    input_ids, type_ids = [], []
    for start in tqdm(
        range(0, len(texts), TEXTS_PER_CALL),
        f"tokenise {split} for the student",
        unit="k",
        disable=not is_shown,
    ):
        stop = start + TEXTS_PER_CALL
        encoded = tokenizer(
            texts[start:stop],
            pairs[start:stop] if pairs else None,
            truncation=True,
            max_length=min(limit for limit in limits if limit is not None),
            return_token_type_ids=True,
            return_attention_mask=False,
        )
        input_ids += encoded["input_ids"]
        type_ids += encoded["token_type_ids"]
    n_empty = sum(not ids for ids in input_ids)
    if n_empty:
        raise DataError(
            f"the student's tokenizer leaves no token of {n_empty:,} of {len(texts):,} texts of "
            f"{split}. Start it from another checkpoint."
        )
    return replace(
        own,
        offsets=np.concatenate([[0], np.cumsum([len(ids) for ids in input_ids])]).astype(np.int64),
        input_ids=np.fromiter(chain.from_iterable(input_ids), np.int32),
        token_type_ids=np.fromiter(chain.from_iterable(type_ids), np.int32),
    )
