"""A token table that somebody else prepared, taken as it is."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import DataError
from pipeline.core.fingerprint import digest_file, digest_tokenizer
from pipeline.tasks.task import LabelKind
from pipeline.text.asking import Asking
from pipeline.text.tokens import SUMMARY_NAME, open_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_NOTHING = Asking()
_REMEDIES = {
    "masking": "Set task.masking to that.",
    "decoder_start": "Name the checkpoint that it was made for as tokenizer.checkpoint.",
}


def copy_tokens(
    source: Path,
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    label_kind: LabelKind,
    folder: Path,
    asking: Asking = _NOTHING,
) -> dict[str, Any]:
    """Copy the token table `source` into an empty folder; return its summary.

    Raises:
        DataError: it is not a token table, is damaged, or was made with another tokenizer,
            length limit, kind of labels or way to ask for word pieces than these.
    """
    tokens = open_tokens(source)
    if tokens.label_kind != label_kind:
        raise DataError(
            f"{source} has labels of the kind '{tokens.label_kind}', task.kind needs "
            f"'{label_kind}'. Set task.kind to the task that it was made for."
        )
    pairs = {
        "tokenizer": (tokens.tokenizer[:12], digest_tokenizer(tokenizer)[:12]),
        "max_length": (tokens.max_length, max_length),
    }
    for name, (found, asked) in pairs.items():
        if found != asked:
            raise DataError(
                f"{source} was made with {name} {found}, params.yaml has {asked}. Set tokenizer to "
                "what it was made with: a store's tokenizer is in its folder 'teacher'."
            )
    summary: dict[str, Any] = json.loads((source / SUMMARY_NAME).read_text(encoding="utf-8"))
    for name, asked in asking.described().items():
        if summary.get(name) != asked:
            raise DataError(
                f"{source} was made with {name} {summary.get(name)}, here it is {asked}. "
                f"{_REMEDIES[name]}"
            )
    for split in tokens.splits:
        name = f"{split}.arrow"
        shutil.copyfile(source / name, folder / name)
        if digest_file(folder / name) != summary["splits"][split]["sha256"]:
            raise DataError(f"{source / name} is damaged. Restore it with 'dvc checkout'.")
    shutil.copyfile(source / SUMMARY_NAME, folder / SUMMARY_NAME)
    return summary
