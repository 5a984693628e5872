"""A teacher for the task: `artifacts/teacher`."""

import json
from pathlib import Path
from time import perf_counter

import click

from pipeline.core.atomic import write_json
from pipeline.core.checkpoint import find_weights, read_config
from pipeline.core.fingerprint import digest_config, digest_json, digest_weights
from pipeline.core.runtime import RuntimeSettings, pick_device
from pipeline.core.settings import parse_section
from pipeline.core.stamp import METRICS_NAME, code_names, stamp_in
from pipeline.metrics import METRICS
from pipeline.metrics.scores import Validated
from pipeline.store.manifest import read_manifest
from pipeline.store.spec import TEACHER_FOLDER
from pipeline.tasks import TASKS
from pipeline.tasks.task import Task, TaskSettings
from pipeline.teacher.finetune_settings import TeacherSettings
from pipeline.teacher.stored_teacher import has_weights, take_teacher
from pipeline.teacher.versions import FINETUNE
from pipeline.text.tokens import Tokens, open_tokens
from stages.entry import force_option, importing, load_params, stage
from stages.paths import TEACHER, TEACHER_METRICS, TOKENS
from stages.seconds import record_seconds

_MORE_TRAINING = (
    "Students will learn little from it. Raise teacher.epochs, try another "
    "teacher.learning_rate, or label more rows."
)
_OTHER_CHECKPOINT = (
    "Students will learn little from it. Check that the checkpoint was fine-tuned for this task, "
    "or fine-tune it with teacher.epochs."
)


@click.command()
@force_option
@stage("finetune")
def main(*, force: bool) -> None:
    """Fine-tune the checkpoint, unless the teacher was made from exactly these inputs."""
    params = load_params()
    settings = parse_section(TeacherSettings, params.get("teacher"), "teacher")
    task = TASKS[parse_section(TaskSettings, params.get("task"), "task").kind]
    runtime = parse_section(RuntimeSettings, params.get("runtime"), "runtime")
    tokens = open_tokens(TOKENS)
    checkpoint = None if settings.checkpoint is None else find_weights(settings.checkpoint)
    if settings.store is not None:
        _take(Path(settings.store), checkpoint, tokens, task, force=force)
        return
    assert checkpoint is not None
    codes = code_names("finetune", FINETUNE)
    inputs = {
        "tokens": tokens.digest,
        "weights": digest_weights(checkpoint),
        "config": digest_config(read_config(checkpoint)),
        "settings": digest_json(settings.model_dump(exclude={"checkpoint", "store"})),
        "task": task.kind,
        "code": codes[0],
    }
    if not force and stamp_in(TEACHER).holds(inputs, codes=codes):
        click.echo("finetune: the teacher was made from exactly these inputs; kept as it is")
    else:
        with importing():
            from transformers.utils import logging

            from pipeline.teacher.finetune import finetune

        started = perf_counter()
        device = pick_device(runtime)
        logging.disable_progress_bar()  # of loading and saving; there is one of the training
        logging.set_verbosity_error()  # a new head is no surprise; what must not lack is refused
        finetune(checkpoint, tokens, task, settings, TEACHER, inputs=inputs, device=device)
        record_seconds("finetune", started, digest_json(inputs))
    metrics = json.loads((TEACHER / METRICS_NAME).read_text(encoding="utf-8"))
    write_json(TEACHER_METRICS, metrics)
    first = METRICS[task.primary_metric]
    click.echo(f"finetune: validation {first.heading} {metrics['validation'][first.name]:.4f}")
    fault = Validated.from_json(metrics).fault("the teacher")
    if fault:
        remedy = _MORE_TRAINING if settings.epochs else _OTHER_CHECKPOINT
        click.echo(f"finetune: warning: {fault}. {remedy}", err=True)


def _take(
    store_dir: Path, checkpoint: Path | None, tokens: Tokens, task: Task, *, force: bool
) -> None:
    """Take the teacher of a store, without training or running it."""
    manifest = read_manifest(store_dir)
    codes = code_names("finetune", FINETUNE)
    inputs = {
        "store": digest_json([str(store_dir), manifest.identity.model_dump(mode="json")]),
        "weights": "" if checkpoint is None else digest_weights(checkpoint),
        "has weights": str(has_weights(store_dir / TEACHER_FOLDER)),
        "tokens": digest_json([tokens.labels, tokens.tokenizer, tokens.max_length]),
        "code": codes[0],
    }
    if force or not stamp_in(TEACHER).holds(inputs, codes=codes):
        take_teacher(store_dir, checkpoint, tokens, task, TEACHER, inputs=inputs)
    write_json(TEACHER_METRICS, {"taken_from": str(store_dir)})
    weights = "with its weights" if has_weights(TEACHER) else "without weights"
    click.echo(f"finetune: the teacher is that of {store_dir}, {weights}; nothing was trained")


if __name__ == "__main__":
    main()
