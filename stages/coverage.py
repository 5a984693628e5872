"""How much of a project's own data a store has; no stage of the pipeline."""

from pathlib import Path

import click

from pipeline.core.atomic import json_bytes
from pipeline.core.settings import parse_section
from pipeline.store.reader import open_store
from pipeline.store_tools.coverage import cover, describe_coverage
from pipeline.tasks import TASKS
from pipeline.tasks.task import TaskSettings
from pipeline.teacher.capture_settings import CaptureSettings
from pipeline.teacher.finetune_settings import TeacherSettings
from pipeline.teacher.stored_teacher import check_fits
from pipeline.text.joined import open_captured_tokens
from stages.entry import load_params, stage
from stages.paths import AUGMENTED, GENERATED, STORE, TOKENS


@click.command()
@click.argument("store", type=click.Path(path_type=Path), default=None, required=False)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document with stable keys.")
@stage("coverage")
def main(store: Path | None, as_json: bool) -> None:
    """Say which rows of this project's data STORE has (default: teacher.store, or its own)."""
    params = load_params()
    settings = parse_section(CaptureSettings, params.get("capture"), "capture")
    task = TASKS[parse_section(TaskSettings, params.get("task"), "task").kind]
    teacher = parse_section(TeacherSettings, params.get("teacher"), "teacher")
    tokens = open_captured_tokens(TOKENS, AUGMENTED, GENERATED)
    opened = open_store(store or teacher.store or STORE)
    check_fits(opened.manifest.identity, tokens, task, opened.store_dir)
    coverage = cover(opened, tokens, settings.signals.arrays(task))
    click.echo(
        json_bytes(coverage.document()).decode().rstrip()
        if as_json
        else describe_coverage(coverage)
    )


if __name__ == "__main__":
    main()
