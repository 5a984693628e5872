"""The teacher's signals: `artifacts/teacher_store`."""

from time import perf_counter

import click

from pipeline.core.fingerprint import digest_file
from pipeline.core.processes import is_started_with_others, joined_processes, run_in_processes
from pipeline.core.runtime import RuntimeSettings, pick_device
from pipeline.core.settings import parse_section
from pipeline.store.spec import MANIFEST_NAME
from pipeline.tasks import TASKS
from pipeline.tasks.task import TaskSettings
from pipeline.teacher.capture import capture, describe_capture
from pipeline.teacher.capture_settings import CaptureSettings
from pipeline.text.augmented import open_captured_tokens
from stages.entry import load_params, stage
from stages.paths import AUGMENTED, GENERATED, STORE, TEACHER, TOKENS
from stages.seconds import record_seconds


@click.command()
@stage("capture")
def main() -> None:
    """Run the teacher over what the store does not have yet."""
    params = load_params()
    settings = parse_section(CaptureSettings, params.get("capture"), "capture")
    task = TASKS[parse_section(TaskSettings, params.get("task"), "task").kind]
    runtime = parse_section(RuntimeSettings, params.get("runtime"), "runtime")
    if runtime.processes > 1 and not is_started_with_others():
        run_in_processes("stages.capture", count=runtime.processes)
        return
    with joined_processes() as processes:
        started = perf_counter()
        report = capture(
            TEACHER,
            open_captured_tokens(TOKENS, AUGMENTED, GENERATED),
            task,
            settings,
            STORE,
            device=pick_device(runtime, processes.local_rank),
            batch_tokens=runtime.batch_tokens,
            processes=processes,
        )
        if processes.is_main:
            record_seconds("capture", started, digest_file(STORE / MANIFEST_NAME))
            if (taken := report.taken) is not None:
                click.echo(
                    f"capture: {taken.n_rows:,} rows in {taken.n_segments:,} segments and "
                    f"{taken.n_arrays:,} further arrays came from the store that was given"
                )
            click.echo(f"capture: {describe_capture(report)}")


if __name__ == "__main__":
    main()
