"""One student: `artifacts/students/NAME`."""

import json
from functools import partial
from time import perf_counter

import click
from transformers.utils import logging

from pipeline import (
    metrics,
    objectives,
    student,
    tasks,
    train,
)
from pipeline.core.fingerprint import digest_code, digest_file, digest_json
from pipeline.core.made_from import is_made_from
from pipeline.core.processes import is_started_with_others, joined_processes, run_in_processes
from pipeline.core.runtime import RuntimeSettings, pick_device
from pipeline.core.settings import faults_at, parse_section
from pipeline.metrics.validated import Validated, validate
from pipeline.models import architecture, attention, cls, encoder_decoder, padding
from pipeline.store import (
    encoding,
    mapped_array,
    moments,
    open_arrays,
    reader,
    stored_rows,
    stored_signal,
)
from pipeline.store.view import read_view
from pipeline.student.model import model_of
from pipeline.tasks import TASKS
from pipeline.tasks.task import TaskSettings
from pipeline.text import augmented, generated, joined, retokenise
from pipeline.text.augmented import open_training_tokens
from pipeline.train.curves import publish_curves
from pipeline.train.distill import METRICS_NAME, distill
from pipeline.train.parallel import make_accelerator
from pipeline.train.settings import StudentSettings, training_of
from stages.entry import load_params, stage
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

_CODE = (
    architecture,
    attention,
    augmented,
    cls,
    encoder_decoder,
    encoding,
    generated,
    joined,
    mapped_array,
    metrics,
    moments,
    objectives,
    open_arrays,
    padding,
    reader,
    retokenise,
    stored_rows,
    stored_signal,
    student,
    tasks,
    train,
)

_REMEDY = "Raise training.epochs, try another training.learning_rate, or add texts to learn from."


@click.command()
@click.argument("name")
@stage("distill")
def main(name: str) -> None:
    """Train the student NAME, unless it was made from exactly these inputs."""
    params = load_params()
    place = f"students.{name}"
    settings = parse_section(StudentSettings, params["students"].get(name), place)
    model = model_of(settings.model, place)
    training = training_of(params, settings, place)
    judged_by = parse_section(TaskSettings, params.get("task"), "task").metrics
    runtime = parse_section(RuntimeSettings, params.get("runtime"), "runtime")
    inputs = {
        "view": digest_file(view_path(name)),
        "settings": digest_json(
            [*(part.model_dump(mode="json") for part in (model, settings, training)), judged_by]
        ),
        "code": digest_code(_CODE),
    }
    folder = STUDENTS / name
    is_made = is_made_from(folder, inputs)
    if runtime.processes > 1 and not is_made and not is_started_with_others():
        run_in_processes("stages.distill", name, count=runtime.processes)
        return
    logging.disable_progress_bar()  # of loading and saving; there is one of the training
    with joined_processes() as processes:
        if is_made:
            outcome = "was made from exactly these inputs; kept as it is"
        else:
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
                    judge=partial(validate, task, tokens.labels),
                    inputs=inputs,
                    unfinished_dir=UNFINISHED / name,
                    seconds_between_saves=runtime.seconds_between_saves,
                    accelerator=accelerator,
                )
            if processes.is_main:
                record_seconds(f"distill@{name}", started, digest_json(inputs))
            scores = ", ".join(f"{metric} {value:.4f}" for metric, value in trained.scores.items())
            outcome = f"validation {scores} at step {trained.best_step}"
        if processes.is_main:
            publish_curves(folder, CURVES / name)
            click.echo(f"distill: {name}: {outcome}")
            metrics = json.loads((folder / METRICS_NAME).read_text(encoding="utf-8"))
            fault = Validated.from_json(metrics).fault("the student")
            if fault:
                click.echo(f"distill: {name}: warning: {fault}. {_REMEDY}", err=True)


if __name__ == "__main__":
    main()
