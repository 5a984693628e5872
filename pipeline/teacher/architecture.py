"""The numbers of a teacher, with what its head predicts."""

from pathlib import Path

from pipeline.architecture import Architecture, read_architecture
from pipeline.checkpoint import read_config
from pipeline.encoder_decoder import ENCODER_DECODERS
from pipeline.errors import CheckpointError
from pipeline.tasks.task import Task


def teacher_architecture(checkpoint: Path, task: Task) -> Architecture:
    """Return a checkpoint's architecture; one that predicts word pieces has a label for each.

    Raises:
        CheckpointError: as `read_architecture`; or such a model cannot do the task, or the size
            of the vocabulary is not known.
    """
    architecture = read_architecture(checkpoint)
    writes, has_decoder = task.label_kind == "target_text", bool(architecture.n_decoder_layers)
    if writes and not has_decoder:
        raise CheckpointError(
            f"{checkpoint}: a model of type '{architecture.model_type}' has no decoder beside an "
            f"encoder, which a {task.kind} needs. Use one of {', '.join(ENCODER_DECODERS)}."
        )
    if has_decoder and not writes:
        raise CheckpointError(
            f"{checkpoint}: a model of type '{architecture.model_type}' has a decoder beside its "
            f"encoder, which only a sequence_to_sequence can use, not a {task.kind}. Use an "
            "encoder, such as a BERT."
        )
    if task.predicts != "piece" or architecture.n_decoder_layers is not None:
        return architecture
    n_pieces = read_config(checkpoint).get("vocab_size")
    if type(n_pieces) is not int or n_pieces < 1:
        raise CheckpointError(
            f"{checkpoint}/config.json has vocab_size={n_pieces!r}, so that nobody knows how many "
            "word pieces the model can predict. Name a checkpoint that says it."
        )
    return architecture.model_copy(update={"n_labels": n_pieces})
