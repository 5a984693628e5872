"""One student: `artifacts/students/NAME`."""

import json
from functools import partial
from time import perf_counter

import click

from pipeline.core.fingerprint import digest_json
from pipeline.core.processes import is_started_with_others, joined_processes, run_in_processes
from pipeline.core.runtime import RuntimeSettings, pick_device
from pipeline.core.settings import faults_at, parse_section
from pipeline.core.stamp import METRICS_NAME, code_of, stamp_in
from pipeline.metrics.scores import Validated, validate
from pipeline.store.view import digest_view, read_view
from pipeline.student.model import model_of
from pipeline.tasks import TASKS
from pipeline.tasks.task import TaskSettings
from pipeline.text.joined import open_training_tokens
from pipeline.train.curves import publish_curves
from pipeline.train.settings import StudentSettings, training_of
from stages.entry import force_option, load_params, stage
from stages.paths import (
    AUGMENTED,
    CURVES,
    GENERATED,
    STORE,
    STUDENTS,
    TOKENS,
    UNFINISHED,
    view_path,
)
from stages.seconds import record_seconds

_REMEDY = "Raise training.epochs, try another training.learning_rate, or add texts to learn from."


@click.command()
@click.argument("name")
@force_option
@stage("distill")
def main(name: str, *, force: bool) -> None:
    """Train the student NAME, unless it was made from exactly these inputs."""
    params = load_params()
    place = f"students.{name}"
    settings = parse_section(StudentSettings, params["students"].get(name), place)
    model = model_of(settings.model, place)
    training = training_of(params, settings, place)
    judged_by = parse_section(TaskSettings, params.get("task"), "task").metrics
    runtime = parse_section(RuntimeSettings, params.get("runtime"), "runtime")
    inputs = {
        "view": digest_view(view_path(name)),
        "settings": digest_json(
            [*(part.model_dump(mode="json") for part in (model, settings, training)), judged_by]
        ),
        "code": code_of("distill"),
    }
    folder = STUDENTS / name
    if not force and stamp_in(folder).holds(inputs):
        publish_curves(folder, CURVES / name)
        click.echo(f"distill: {name}: was made from exactly these inputs; kept as it is")
        _warn(name)
        return
    if runtime.processes > 1 and not is_started_with_others():
        forced = ("--force",) if force else ()
        run_in_processes("stages.distill", name, *forced, count=runtime.processes)
        return

    from transformers.utils import logging

    from pipeline.train.distill import distill
    from pipeline.train.parallel import make_accelerator

    logging.disable_progress_bar()  # of loading and saving; there is one of the training
    with joined_processes() as processes:
        started = perf_counter()
        view = read_view(view_path(name))
        task = TASKS[view.manifest.identity.task].judged_by(judged_by)
        tokens = open_training_tokens(
            TOKENS,
            AUGMENTED,
            GENERATED,
            is_augmented=settings.augmented,
            targets=settings.targets,
        )
        accelerator = make_accelerator(pick_device(runtime, processes.local_rank))
        with faults_at(place):
            trained = distill(
                name,
                view,
                STORE,
                tokens,
                task,
                model,
                settings,
                training,
                folder,
                judge=partial(validate, task),
                inputs=inputs,
                unfinished_dir=UNFINISHED / name,
                seconds_between_saves=runtime.seconds_between_saves,
                accelerator=accelerator,
            )
        if processes.is_main:
            record_seconds(f"distill@{name}", started, digest_json(inputs))
            publish_curves(folder, CURVES / name)
            scores = ", ".join(f"{metric} {value:.4f}" for metric, value in trained.scores.items())
            click.echo(f"distill: {name}: validation {scores} at step {trained.best_step}")
            _warn(name)


def _warn(name: str) -> None:
    """Say it when a student is useless."""
    metrics = json.loads((STUDENTS / name / METRICS_NAME).read_text(encoding="utf-8"))
    fault = Validated.from_json(metrics).fault("the student")
    if fault:
        click.echo(f"distill: {name}: warning: {fault}. {_REMEDY}", err=True)


if __name__ == "__main__":
    main()
