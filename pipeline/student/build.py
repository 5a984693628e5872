"""New students, with the weights that they start from."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, GenerationConfig, PreTrainedModel
from transformers.utils import GENERATION_CONFIG_NAME

from pipeline.core.checkpoint import find_weights, load_tokenizer
from pipeline.core.errors import CheckpointError, SettingsError
from pipeline.models.head import load_with_head, new_model
from pipeline.store.files import check_weights
from pipeline.store.manifest import Manifest
from pipeline.store.spec import TEACHER_FOLDER
from pipeline.student.config import narrow, student_config
from pipeline.student.network_settings import NetworkSettings
from pipeline.student.settings import ModelSettings, TransformerSettings
from pipeline.student.warm_start import (
    copy_head,
    copy_teacher_layers,
    read_teacher_tensors,
    tied_names,
)
from pipeline.tasks.task import Task


def build_student(
    settings: ModelSettings,
    manifest: Manifest,
    store_dir: Path,
    task: Task,
    *,
    say: Callable[[str], None],
) -> PreTrainedModel:
    """Return a new student in float32; what starts from nothing is of torch's generator.

    A table of what was copied from where goes to `say`, line by line.

    Raises:
        SettingsError: the settings do not fit the teacher.
        CheckpointError: the weights to start from are not there, or do not fit.
        StoreIncompleteError: they were captured, but not fetched.
    """
    if settings.reads_teacher_weights:
        check_weights(store_dir, manifest)
    if isinstance(settings, NetworkSettings):
        return build_network(settings, manifest, store_dir, task, say=say)
    assert isinstance(settings, TransformerSettings)
    return build_transformer(settings, manifest, store_dir, task, say=say)


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
            f"model.embedding_size: {settings.embedding_size}, but the teacher's embeddings "
            f"are {found[1].shape[1]} wide; leave it out, or set embeddings to random"
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


def build_transformer(
    settings: TransformerSettings,
    manifest: Manifest,
    store_dir: Path,
    task: Task,
    *,
    say: Callable[[str], None],
) -> PreTrainedModel:
    """Return a new student, as `build_student` says."""
    labels = manifest.identity.labels
    if settings.checkpoint is not None:
        return _load(find_weights(settings.checkpoint), task, labels, say)
    assert settings.n_layers is not None
    teacher_folder = store_dir / TEACHER_FOLDER
    teacher = manifest.teacher
    layers, decoder_layers, n_decoder = settings.teacher_layers(teacher.n_layers), [], None
    if teacher.n_decoder_layers is not None:
        n_decoder = settings.n_student_decoder_layers
        decoder_layers = settings.teacher_decoder_layers(teacher.n_decoder_layers)
    config = student_config(teacher_folder, settings.n_layers, layers, n_decoder_layers=n_decoder)
    if settings.is_narrower:
        shape = settings.shape(teacher, manifest.identity.tokenizer)
        narrow(config, shape.hidden_size, shape.n_heads, settings.intermediate_size)
    student = new_model(config, task)
    if (teacher_folder / GENERATION_CONFIG_NAME).is_file():
        student.generation_config = GenerationConfig.from_pretrained(teacher_folder)
    if layers:
        copied = copy_teacher_layers(student, teacher_folder, layers, decoder_layers)
    elif settings.warm_start == "heads":
        copied = copy_head(student, teacher_folder, teacher.n_layers)
    else:
        copied = {}
    for line in copied_table(copied, len(set(tied_names(student).values()))):
        say(line)
    return student


def copied_table(copied: dict[str, str], n_tensors: int) -> list[str]:
    """Return lines that say which tensor of a student came from where, layer by layer.

    `copied` is the source's name by the student's, `n_tensors` the student's number of them.
    """
    if not copied:
        return [f"warm start: none; all {n_tensors} tensors start at random"]
    blocks: dict[tuple[str, str], int] = {}
    for ours, theirs in copied.items():
        block = _block(ours), _block(theirs)
        blocks[block] = blocks.get(block, 0) + 1
    width = max(len("student"), *(len(ours) for ours, _ in blocks))
    n_random = n_tensors - len(copied)
    return [
        f"warm start: {len(copied)} of {n_tensors} tensors are the teacher's"
        + (f", {n_random} start at random" if n_random else ""),
        f"  {'student':{width}}  tensors  teacher",
        *(f"  {ours:{width}}  {n:7}  {theirs}" for (ours, theirs), n in blocks.items()),
    ]


def _block(name: str) -> str:
    """Return the layer, or the module below the encoder, that a tensor belongs to."""
    parts = name.split(".")
    numbers = [index for index, part in enumerate(parts) if part.isdecimal()]
    if numbers:
        return ".".join(parts[: numbers[0] + 1])
    return ".".join(parts[: min(2, len(parts) - 1)])


def _load(
    checkpoint: Path, task: Task, labels: tuple[str, ...], say: Callable[[str], None]
) -> PreTrainedModel:
    """Return a checkpoint as a student with a head for these labels."""
    student, loading = load_with_head(checkpoint, task, labels)
    fresh = sorted({*loading["missing_keys"], *(name for name, *_ in loading["mismatched_keys"])})
    random = f"; {', '.join(fresh)} start at random" if fresh else ""
    say(f"warm start: all tensors are those of {checkpoint}{random}")
    return student
