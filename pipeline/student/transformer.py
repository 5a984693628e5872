"""Students that are Transformers: the teacher's architecture cut down, or a checkpoint."""

from collections.abc import Callable
from pathlib import Path

from transformers import GenerationConfig, PreTrainedModel
from transformers.utils import GENERATION_CONFIG_NAME

from pipeline.core.checkpoint import find_weights
from pipeline.models.head import load_with_head, new_model
from pipeline.store.manifest import Manifest
from pipeline.store.spec import TEACHER_FOLDER
from pipeline.student.config import narrow, student_config
from pipeline.student.settings import TransformerSettings
from pipeline.student.warm_start import copy_head, copy_teacher_layers, tied_names
from pipeline.tasks.task import Task


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
