"""A teacher for the task: `artifacts/teacher`."""

import json
from time import perf_counter

import click

from pipeline.atomic import write_json
from pipeline.checkpoint import find_weights, read_config
from pipeline.fingerprint import digest_code, digest_config, digest_json, digest_weights
from pipeline.made_from import is_made_from
from pipeline.runtime import RuntimeSettings, pick_device
from pipeline.settings import parse_section
from pipeline.tasks import TASKS
from pipeline.tasks.task import TaskSettings
from pipeline.teacher import finetune as finetuning
from pipeline.teacher.finetune import METRICS_NAME, finetune
from pipeline.teacher.finetune_settings import TeacherSettings
from pipeline.text.tokens import open_tokens
from stages.entry import load_params, stage
from stages.paths import TEACHER, TEACHER_METRICS, TOKENS
from stages.seconds import record_seconds


@click.command()
@stage("finetune")
def main() -> None:
    """Fine-tune the checkpoint, unless the teacher was made from exactly these inputs."""
    params = load_params()
    settings = parse_section(TeacherSettings, params.get("teacher"), "teacher")
    task = TASKS[parse_section(TaskSettings, params.get("task"), "task").kind]
    runtime = parse_section(RuntimeSettings, params.get("runtime"), "runtime")
    tokens = open_tokens(TOKENS)
    checkpoint = find_weights(settings.checkpoint)
    inputs = {
        "tokens": tokens.digest,
        "weights": digest_weights(checkpoint),
        "config": digest_config(read_config(checkpoint)),
        "settings": digest_json(settings.model_dump(exclude={"checkpoint"})),
        "task": task.kind,
        "code": digest_code([finetuning]),
    }
    if is_made_from(TEACHER, inputs):
        click.echo("finetune: the teacher was made from exactly these inputs; kept as it is")
    else:
        started = perf_counter()
        device = pick_device(runtime)
        finetune(checkpoint, tokens, task, settings, TEACHER, inputs=inputs, device=device)
        record_seconds("finetune", started, digest_json(inputs))
    metrics = json.loads((TEACHER / METRICS_NAME).read_text(encoding="utf-8"))
    write_json(TEACHER_METRICS, metrics)
    click.echo(f"finetune: validation accuracy {metrics['validation']['accuracy']:.4f}")


if __name__ == "__main__":
    main()
