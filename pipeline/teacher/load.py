"""A teacher from its checkpoint, refused unless it fits the task's labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import AutoConfig, PreTrainedModel

from pipeline.architecture import read_architecture
from pipeline.checkpoint import load_tokenizer
from pipeline.errors import CheckpointError
from pipeline.fingerprint import digest_tokenizer
from pipeline.tasks.head import load_with_head
from pipeline.tasks.task import Task
from pipeline.text.tokens import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def load_teacher(
    checkpoint: Path, task: Task, labels: Sequence[str], *, needs_head: bool
) -> PreTrainedModel:
    """Return the model with the task's head, in float32 and evaluation mode.

    With `needs_head` the checkpoint must hold a trained head. Without it a missing head
    is initialised. Weights come from safetensors only, and no code from the checkpoint.

    Raises:
        CheckpointError: no such head, another number of labels, other label names or
            another order, or weights that are not safetensors.
    """
    read_architecture(checkpoint)
    stored = AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
    model, loading = load_with_head(checkpoint, task, labels)
    missing, mismatched = loading["missing_keys"], loading["mismatched_keys"]
    if mismatched:
        raise CheckpointError(
            f"{checkpoint} has a head for {stored.num_labels} labels, the data has {len(labels)} "
            f"({', '.join(labels)}). Name a checkpoint that fits, or correct data.labels."
        )
    if missing and needs_head:
        raise CheckpointError(
            f"{checkpoint} lacks {', '.join(sorted(missing))}: it is not fine-tuned for this task. "
            "Set teacher.epochs to 1 or more to fine-tune it."
        )
    if not missing:
        _check_label_names(checkpoint, dict(stored.id2label), labels)
    model.eval()
    return model


def _check_label_names(checkpoint: Path, stored: dict[int, str], labels: Sequence[str]) -> None:
    names = [stored[index] for index in sorted(stored)]
    has_names = names != [f"LABEL_{index}" for index in range(len(names))]
    if has_names and names != list(labels):
        raise CheckpointError(
            f"{checkpoint} was trained with the labels {', '.join(names)} in this order, the data "
            f"has {', '.join(labels)}. Name them in the teacher's order under data.labels."
        )


def load_matching_tokenizer(checkpoint: Path, tokens: Tokens) -> "PreTrainedTokenizerFast":
    """Return the checkpoint's tokenizer, which must be the one that made `tokens`.

    Raises:
        CheckpointError: it is another tokenizer.
    """
    tokenizer = load_tokenizer(checkpoint)
    found = digest_tokenizer(tokenizer)
    if found != tokens.tokenizer:
        raise CheckpointError(
            f"{checkpoint} has tokenizer {found[:12]}, the token table was made with "
            f"{tokens.tokenizer[:12]}. Set tokenizer.checkpoint to the teacher's checkpoint."
        )
    return tokenizer
