"""A checkpoint's encoder with a head for a task's labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import CheckpointError, first_line
from pipeline.tasks.task import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_with_head(
    checkpoint: Path, task: Task, labels: Sequence[str]
) -> tuple["PreTrainedModel", dict[str, Any]]:
    """Return the model in float32, and what Transformers says of its tensors.

    Weights come from safetensors only, and no code from the checkpoint. A head that the
    checkpoint lacks (`missing_keys`) or has for other labels (`mismatched_keys`) is of
    torch's random generator.

    Raises:
        CheckpointError: the weights cannot be loaded so.
    """
    try:
        model, loading = task.auto_model.from_pretrained(
            checkpoint,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={name: index for index, name in enumerate(labels)},
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            dtype="float32",
        )
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{checkpoint} cannot be loaded: {first_line(error)}") from error
    return model, loading
