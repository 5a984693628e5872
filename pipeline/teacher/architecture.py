"""The numbers of a teacher, with what its head predicts."""

from pathlib import Path

from pipeline.core.checkpoint import read_config
from pipeline.core.errors import CheckpointError
from pipeline.models.architecture import Architecture, read_architecture
from pipeline.models.encoder_decoder import ENCODER_DECODERS
from pipeline.tasks.task import Task


def teacher_architecture(checkpoint: Path, task: Task) -> Architecture:
    """Return a checkpoint's architecture; one that predicts word pieces has a label for each.

    Raises:
        CheckpointError: as `read_architecture`; or such a model cannot do the task, or the size
            of the vocabulary is not known.
    """
    architecture = read_architecture(checkpoint)
    if why := why_not_teacher(architecture, task):
        raise CheckpointError(f"{checkpoint}: {why}")
    return with_vocabulary(architecture, checkpoint, task)


def with_vocabulary(architecture: Architecture, checkpoint: Path, task: Task) -> Architecture:
    """Return a checkpoint's architecture with a label for each word piece, if it predicts these.

    Raises:
        CheckpointError: the size of the vocabulary is not known.
    """
    if task.predicts != "piece" or architecture.n_decoder_layers is not None:
        return architecture
    n_pieces = read_config(checkpoint).get("vocab_size")
    if type(n_pieces) is not int or n_pieces < 1:
        raise CheckpointError(
            f"{checkpoint}/config.json has vocab_size={n_pieces!r}, so that nobody knows how many "
            "word pieces the model can predict. Name a checkpoint that says it."
        )
    return architecture.model_copy(update={"n_labels": n_pieces})


def why_not_teacher(architecture: Architecture, task: Task) -> str | None:
    """Return what keeps such a model from doing the task, and what to use; None if nothing does."""
    model = f"a model of type '{architecture.model_type}'"
    writes, has_decoder = task.writes, bool(architecture.n_decoder_layers)
    if writes and not has_decoder:
        return (
            f"{model} has no decoder beside an encoder, which a {task.kind} needs. "
            f"Use one of {', '.join(ENCODER_DECODERS)}."
        )
    if has_decoder and not writes:
        return (
            f"{model} has a decoder beside its encoder, which only a sequence_to_sequence can use, "
            f"not a {task.kind}. Use an encoder, such as a BERT."
        )
    return None
