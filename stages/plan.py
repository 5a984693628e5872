"""What `capture` would compute and write, before it does; no stage of the pipeline."""

from functools import partial

import click

from pipeline.core.checkpoint import find_weights
from pipeline.core.runtime import RuntimeSettings, pick_device
from pipeline.core.settings import parse_section
from pipeline.store_tools.plan_text import describe_plan, describe_speed
from pipeline.tasks import TASKS
from pipeline.tasks.task import TaskSettings
from pipeline.teacher.capture_settings import CaptureSettings
from pipeline.teacher.finetune_settings import TeacherSettings
from pipeline.teacher.plan import make_plan
from pipeline.text.joined import open_captured_tokens
from stages.entry import load_params, stage
from stages.paths import AUGMENTED, GENERATED, STORE, TEACHER, TOKENS


@click.command()
@click.option("--no-time", is_flag=True, help="Do not run the teacher to measure its speed.")
@stage("plan")
def main(no_time: bool) -> None:
    """Say how many rows, bytes and seconds 'capture' is going to take."""
    params = load_params()
    settings = parse_section(CaptureSettings, params.get("capture"), "capture")
    task = TASKS[parse_section(TaskSettings, params.get("task"), "task").kind]
    runtime = parse_section(RuntimeSettings, params.get("runtime"), "runtime")
    tokens = open_captured_tokens(TOKENS, AUGMENTED, GENERATED)
    is_finetuned = TEACHER.is_dir()
    teacher = parse_section(TeacherSettings, params.get("teacher"), "teacher")
    teacher_dir = TEACHER if is_finetuned else find_weights(teacher.described_by)
    plan = make_plan(
        teacher_dir,
        tokens,
        task,
        settings,
        STORE,
        device=partial(pick_device, runtime),
        is_finetuned=is_finetuned,
    )
    click.echo(describe_plan(plan))
    if plan.works and not no_time:
        from pipeline.teacher.speed import measure_speed

        device = pick_device(runtime)
        speed = measure_speed(plan, tokens, task, device=device, batch_tokens=runtime.batch_tokens)
        click.echo(describe_speed(speed, device))


if __name__ == "__main__":
    main()
