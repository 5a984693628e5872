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
from pipeline.tasks import TASKS
from pipeline.tasks.task import TaskSettings
from pipeline.train.curves import publish_curves
from pipeline.train.student import StudentData, resolve_student
from stages.entry import force_option, importing, load_params, stage, training_tokens
from stages.paths import CURVES, STORE, STUDENTS, UNFINISHED, view_path
from stages.seconds import record_seconds

_REMEDY = "Raise training.epochs, try another training.learning_rate, or add texts to learn from."


@click.command()
@click.argument("name")
@force_option
@stage("distill")
def main(name: str, *, force: bool) -> None:
    """Train the student NAME, unless it was made from exactly these inputs."""
    params = load_params()
    student = resolve_student(params, name)
    judged_by = parse_section(TaskSettings, params.get("task"), "task").metrics
    runtime = parse_section(RuntimeSettings, params.get("runtime"), "runtime")
    inputs = {
        "view": digest_view(view_path(name)),
        "settings": digest_json(
            [
                *(
                    part.model_dump(mode="json")
                    for part in (student.model, student.settings, student.training)
                ),
                judged_by,
            ]
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

    with importing():
        from transformers.utils import logging

        from pipeline.train.distill import distill
        from pipeline.train.parallel import make_accelerator
        from pipeline.train.resume import ResumableTraining

    logging.disable_progress_bar()  # of loading and saving; there is one of the training
    with joined_processes() as processes:
        started = perf_counter()
        view = read_view(view_path(name))
        task = TASKS[view.manifest.identity.task].judged_by(judged_by)
        data = StudentData(view, STORE, training_tokens(student.settings), task)
        with faults_at(student.place):
            trained = distill(
                student,
                data,
                folder,
                ResumableTraining(UNFINISHED / name, inputs, runtime.seconds_between_saves),
                partial(validate, task),
                make_accelerator(pick_device(runtime, processes.local_rank)),
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
