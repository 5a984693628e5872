"""How good, how close to its teacher and how fast one student is: `reports/metrics/NAME.json`."""

import json
from time import perf_counter

import click

from pipeline.core.atomic import write_json
from pipeline.core.fingerprint import digest_json
from pipeline.core.runtime import RuntimeSettings, pick_device
from pipeline.core.settings import parse_section
from pipeline.core.stamp import METRICS_NAME, code_of, stamp_in
from pipeline.evaluate.settings import EvaluationSettings
from pipeline.evaluate.usefulness import usefulness_warnings
from pipeline.metrics import METRICS
from pipeline.store.view import digest_view, read_view
from pipeline.tasks import TASKS
from pipeline.tasks.task import TaskSettings
from pipeline.text.joined import open_generated
from pipeline.text.tokens import open_tokens
from stages.entry import digest_student, force_option, importing, load_params, stage
from stages.paths import (
    EVALUATIONS,
    GENERATED,
    STORE,
    STUDENTS,
    TOKENS,
    metrics_path,
    shown_path,
    view_path,
)
from stages.seconds import record_seconds


@click.command()
@click.argument("name")
@force_option
@stage("evaluate")
def main(name: str, *, force: bool) -> None:
    """Measure the student NAME, unless it was measured with exactly these inputs."""
    params = load_params()
    settings = parse_section(EvaluationSettings, params.get("evaluation"), "evaluation")
    judged_by = parse_section(TaskSettings, params.get("task"), "task").metrics
    runtime = parse_section(RuntimeSettings, params.get("runtime"), "runtime")
    inputs = {
        "student": digest_student(name),
        "view": digest_view(view_path(name)),
        "shown": digest_view(shown_path(name)),
        "settings": digest_json([settings.model_dump(mode="json"), judged_by]),
        "code": code_of("evaluate"),
    }
    generated = open_generated(GENERATED) if GENERATED.is_dir() else None
    if generated is not None and set(settings.splits) & set(generated.splits):
        inputs["generated"] = generated.digest
    folder = EVALUATIONS / name
    if not force and stamp_in(folder).holds(inputs):
        click.echo(f"evaluate: {name} was measured with exactly these inputs; kept as it is")
        measured = json.loads((folder / METRICS_NAME).read_text(encoding="utf-8"))
    else:
        with importing():
            from pipeline.evaluate.evaluate import evaluate

        started = perf_counter()
        view = read_view(view_path(name))
        measured = evaluate(
            name,
            STUDENTS / name,
            view,
            STORE,
            open_tokens(TOKENS),
            TASKS[view.manifest.identity.task].judged_by(judged_by),
            settings,
            folder,
            objectives=list(params["students"][name]["objectives"]),
            inputs=inputs,
            device=pick_device(runtime),
            shown=read_view(shown_path(name)),
            generated=generated,
        )
        record_seconds(f"evaluate@{name}", started, digest_json(inputs))
    write_json(metrics_path(name), measured)
    first = METRICS[measured["metrics"][0]]
    for split, scores in measured["splits"].items():
        if scores["student"]:
            click.echo(
                f"evaluate: {name}: {split} {first.heading} {scores['student'][first.name]:.4f}, "
                f"teacher {scores['teacher'][first.name]:.4f}"
            )
    for warning in usefulness_warnings(measured, params["students"][name]):
        click.echo(f"evaluate: {name}: warning: {warning}.", err=True)


if __name__ == "__main__":
    main()
