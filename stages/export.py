"""One student as files to ship: `artifacts/exports/NAME`."""

import json
from typing import Any

import click

from pipeline.core.atomic import write_json
from pipeline.core.fingerprint import digest_json
from pipeline.core.settings import parse_section
from pipeline.core.stamp import METRICS_NAME, code_of, stamp_in
from pipeline.evaluate.settings import EvaluationSettings
from pipeline.export.settings import FILES, ExportSettings
from pipeline.tasks import TASKS
from pipeline.tasks.task import TaskSettings
from pipeline.text.tokens import open_tokens
from stages.entry import digest_student, force_option, importing, load_params, stage
from stages.paths import EXPORTS, STUDENTS, TOKENS, export_metrics_path


@click.command()
@click.argument("name")
@force_option
@stage("export")
def main(name: str, *, force: bool) -> None:
    """Export the student NAME to ONNX, unless it was exported from exactly these inputs."""
    params = load_params()
    settings = parse_section(ExportSettings, params.get("export"), "export")
    evaluation = parse_section(EvaluationSettings, params.get("evaluation"), "evaluation")
    task = parse_section(TaskSettings, params.get("task"), "task")
    tokens = open_tokens(TOKENS)
    folder = EXPORTS / name
    inputs = {
        "student": digest_student(name),
        "tokens": tokens.digest,
        "settings": digest_json(
            [
                settings.model_dump(mode="json", exclude={"students"}),
                evaluation.model_dump(mode="json", exclude={"splits", "generation"}),
                task.metrics,
            ]
        ),
        "code": code_of("export"),
    }
    if not force and stamp_in(folder).holds(inputs):
        click.echo(f"export: {name} was exported from exactly these inputs; kept as it is")
        metrics = json.loads((folder / METRICS_NAME).read_text(encoding="utf-8"))
    else:
        with importing():
            from transformers.utils import logging

            from pipeline.export.export import export

        logging.disable_progress_bar()  # of loading
        metrics = export(
            name,
            STUDENTS / name,
            tokens,
            TASKS[task.kind].judged_by(task.metrics),
            settings,
            evaluation,
            folder,
            inputs=inputs,
        )
    write_json(export_metrics_path(name), metrics)
    for line in _summary(name, metrics):
        click.echo(line)


def _summary(name: str, metrics: dict[str, Any]) -> list[str]:
    """Return a line for each file, and one for a file that was not worth having."""
    from pipeline.export.card import describe_loss

    base = metrics["pytorch"]
    lines = []
    for form, file in FILES.items():
        one = metrics.get(form)
        if one is None:
            continue
        if one.get("why_not"):
            lines.append(f"export: {name}: no {file}: {one['why_not']}")
            continue
        lines.append(
            f"export: {name}: {file} {one['size_bytes'] / 2**20:.1f} MiB, "
            f"{one['latency_ms']:.2f} ms (PyTorch {base['latency_ms']:.2f}), logits off by up "
            f"to {one['largest_difference']:.1e}, {describe_loss(one)} lost on "
            f"{metrics['n_rows']:,} rows"
        )
    return lines


if __name__ == "__main__":
    main()
