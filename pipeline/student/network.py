"""Students over word-piece embeddings: TextCNN, BiLSTM."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, PreTrainedModel

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import CheckpointError, SettingsError
from pipeline.store.manifest import Manifest
from pipeline.store.spec import TEACHER_FOLDER
from pipeline.student.network_settings import NetworkSettings
from pipeline.student.warm_start import read_teacher_tensors
from pipeline.tasks.task import Task


def build_network(
    settings: NetworkSettings,
    manifest: Manifest,
    store_dir: Path,
    task: Task,
    *,
    say: Callable[[str], None],
) -> PreTrainedModel:
    """Return a new student, as `build_student` says, for the teacher's tokens and labels."""
    folder = store_dir / TEACHER_FOLDER
    labels = manifest.identity.labels
    found = _teacher_embeddings(folder) if settings.embeddings == "teacher" else None
    if found is not None and settings.embedding_size not in (None, found[1].shape[1]):
        raise SettingsError(
            [
                f"model.embedding_size: {settings.embedding_size}, but the teacher's embeddings "
                f"are {found[1].shape[1]} wide; leave it out, or set embeddings to random"
            ]
        )
    tokenizer = load_tokenizer(folder)
    config = settings.config(
        None if found is None else found[1].shape[1],
        vocab_size=len(tokenizer) if found is None else found[1].shape[0],
        pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(labels)),
        label2id={name: index for index, name in enumerate(labels)},
        problem_type=task.problem_type,
    )
    student = settings.network_class()(config)
    embedding = student.get_input_embeddings()
    weight = embedding.weight
    assert isinstance(weight, torch.nn.Parameter)
    if found is not None:
        with torch.no_grad():
            weight.copy_(found[1])
            if tokenizer.pad_token_id is not None:
                weight[tokenizer.pad_token_id] = 0
    weight.requires_grad_(not settings.freeze_embeddings)
    start = "random" if found is None else f"the teacher's {found[0]} {tuple(found[1].shape)}"
    say(f"warm start: embeddings {start}{', frozen' if settings.freeze_embeddings else ''}")
    return student


def _teacher_embeddings(folder: Path) -> tuple[str, Tensor]:
    """Return name and values (word piece, width) of the teacher's word-piece embeddings."""
    with torch.device("meta"):
        encoder = AutoModel.from_config(AutoConfig.from_pretrained(folder, trust_remote_code=False))
    embedding = encoder.get_input_embeddings().weight
    (name,) = [name for name, weight in encoder.named_parameters() if weight is embedding]
    found = read_teacher_tensors(
        folder, lambda stored: stored.endswith(name), instead="embeddings to random"
    )
    for stored, values in found:
        return stored, values.float()
    raise CheckpointError(f"{folder} has no tensor {name} to start a student's embeddings from")
