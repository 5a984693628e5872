"""A teacher from its checkpoint, refused unless it fits the task's labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import CheckpointError
from pipeline.core.fingerprint import digest_tokenizer
from pipeline.models.architecture import load_config
from pipeline.models.checkpoint_config import names_of_head
from pipeline.models.head import load_with_head, reorder_labels
from pipeline.models.limits import unreadable
from pipeline.tasks.task import Task
from pipeline.teacher.architecture import teacher_architecture
from pipeline.text.tokens import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


def load_teacher(
    checkpoint: Path, task: Task, labels: Sequence[str], *, needs_head: bool
) -> "PreTrainedModel":
    """Return the model with the task's head, in float32 and evaluation mode.

    With `needs_head` the checkpoint must hold a trained head. Without it a missing head
    is initialised, and labels in another order are put into that of the data. Weights come
    from safetensors only, and no code from the checkpoint.

    Raises:
        CheckpointError: no such head, other labels, or weights that are not safetensors.
    """
    teacher_architecture(checkpoint, task)
    model, loading = load_with_head(checkpoint, task, labels)
    missing, mismatched = loading["missing_keys"], loading["mismatched_keys"]
    if mismatched:
        _, found, _ = min(mismatched)
        raise CheckpointError(
            f"{checkpoint} has a head for {found[0]} labels, the data has {len(labels)} "
            f"({', '.join(labels)}). Name a checkpoint that fits, or correct data.labels."
        )
    if missing and needs_head:
        raise CheckpointError(
            f"{checkpoint} lacks {', '.join(sorted(missing))}: it is not fine-tuned for this task. "
            "Set teacher.epochs to 1 or more to fine-tune it."
        )
    # The only label of a number or a choice is no name that anybody gave it.
    names = names_of_head(checkpoint) if not missing and len(labels) > 1 else None
    if names is not None and names != list(labels):
        if sorted(names) != sorted(labels):
            raise CheckpointError(
                f"{checkpoint} was trained with the labels {', '.join(names)}, the data has "
                f"{', '.join(labels)}. Give the data's labels the teacher's names under "
                "data.labels."
            )
        reorder_labels(model, names, labels)
    model.eval()
    return model


def check_order(checkpoint: Path, tokens: Tokens) -> None:
    """Refuse a trained head whose outputs are not named, where the data does not order its labels.

    Raises:
        CheckpointError: nobody knows which output is which label.
    """
    if tokens.is_alphabetic and names_of_head(checkpoint) is None:
        raise CheckpointError(
            f"{checkpoint} does not name its labels, and the data has {', '.join(tokens.labels)} "
            "in no order but the alphabet's, so that nobody knows which output is which. List them "
            "under data.labels in the order of the teacher's outputs."
        )


def load_matching_tokenizer(checkpoint: Path, tokens: Tokens) -> "PreTrainedTokenizerFast":
    """Return the checkpoint's tokenizer, which must be the one that made `tokens`.

    Raises:
        CheckpointError: it is another tokenizer, or rows have token ids, token types or lengths
            that the model has no embeddings of.
    """
    tokenizer = load_tokenizer(checkpoint)
    found = digest_tokenizer(tokenizer)
    if found != tokens.tokenizer:
        raise CheckpointError(
            f"{checkpoint} has tokenizer {found[:12]}, the token table was made with "
            f"{tokens.tokenizer[:12]}. Set tokenizer.checkpoint to the teacher's checkpoint."
        )
    has_token_types = "token_type_ids" in tokenizer.model_input_names
    config = load_config(checkpoint)
    if fault := unreadable(config, tokens.splits, has_token_types=has_token_types):
        raise CheckpointError(f"{checkpoint} cannot read the token table: {fault}.")
    return tokenizer
