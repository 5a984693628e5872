"""One student as files to ship: `artifacts/exports/NAME`."""

import json
from typing import Any

import click
from transformers.utils import logging

from pipeline import metrics as judging
from pipeline.core.atomic import write_json
from pipeline.core.errors import CheckpointError
from pipeline.core.fingerprint import digest_code, digest_file, digest_json
from pipeline.core.made_from import RECORD_NAME, is_made_from
from pipeline.core.settings import parse_section
from pipeline.evaluate import cost
from pipeline.evaluate.settings import EvaluationSettings
from pipeline.export import agreement, card, card_examples, int8, lstm, onnx_file, session
from pipeline.export import export as exporting
from pipeline.export.export import FILES, METRICS_NAME, export
from pipeline.export.settings import ExportSettings
from pipeline.models import padding, predict
from pipeline.tasks import TASKS
from pipeline.tasks.task import TaskSettings
from pipeline.text import retokenise
from pipeline.text.tokens import open_tokens
from pipeline.train import model_card
from stages.entry import load_params, stage
from stages.paths import EXPORTS, STUDENTS, TOKENS, export_metrics_path

_CODE = (
    agreement,
    card,
    card_examples,
    cost,
    exporting,
    int8,
    judging,
    lstm,
    model_card,
    onnx_file,
    padding,
    predict,
    retokenise,
    session,
)


@click.command()
@click.argument("name")
@stage("export")
def main(name: str) -> None:
    """Export the student NAME to ONNX, unless it was exported from exactly these inputs."""
    params = load_params()
    settings = parse_section(ExportSettings, params.get("export"), "export")
    evaluation = parse_section(EvaluationSettings, params.get("evaluation"), "evaluation")
    task = parse_section(TaskSettings, params.get("task"), "task")
    tokens = open_tokens(TOKENS)
    folder = EXPORTS / name
    inputs = {
        "student": _digest_student(name),
        "tokens": tokens.digest,
        "settings": digest_json(
            [
                settings.model_dump(mode="json", exclude={"students"}),
                evaluation.model_dump(mode="json", exclude={"splits", "generation"}),
                task.metrics,
            ]
        ),
        "code": digest_code(_CODE),
    }
    if is_made_from(folder, inputs):
        click.echo(f"export: {name} was exported from exactly these inputs; kept as it is")
        metrics = json.loads((folder / METRICS_NAME).read_text(encoding="utf-8"))
    else:
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


def _digest_student(name: str) -> str:
    try:
        return digest_file(STUDENTS / name / RECORD_NAME)
    except FileNotFoundError:
        raise CheckpointError(
            f"{STUDENTS / name} is not a finished student. Run 'dvc repro distill@{name}'."
        ) from None


def _summary(name: str, metrics: dict[str, Any]) -> list[str]:
    """Return a line for each file, and one for a file that was not worth having."""
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
            f"to {one['largest_difference']:.1e}, {card.describe_loss(one)} lost on "
            f"{metrics['n_rows']:,} rows"
        )
    return lines


if __name__ == "__main__":
    main()
