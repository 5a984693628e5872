"""The teacher's signals: `artifacts/teacher_store`."""

from time import perf_counter

import click

from pipeline.core.checkpoint import read_config
from pipeline.core.errors import StoreMismatchError
from pipeline.core.fingerprint import digest_config, digest_file, digest_json, digest_weights
from pipeline.core.processes import is_started_with_others, joined_processes, run_in_processes
from pipeline.core.runtime import RuntimeSettings, pick_device
from pipeline.core.settings import parse_section
from pipeline.core.stamp import Stamp, code_names
from pipeline.store.files import check_whole
from pipeline.store.lock import discard_store
from pipeline.store.manifest import read_manifest
from pipeline.store.spec import MANIFEST_NAME
from pipeline.tasks import TASKS
from pipeline.tasks.task import TaskSettings
from pipeline.teacher.capture_settings import CaptureSettings
from pipeline.teacher.stored_teacher import has_weights
from pipeline.teacher.versions import EXTRACTION
from pipeline.text.joined import open_captured_tokens
from stages.entry import force_option, importing, load_params, stage
from stages.paths import AUGMENTED, GENERATED, STAMPS, STORE, TEACHER, TOKENS
from stages.seconds import record_seconds


@click.command()
@force_option
@stage("capture")
def main(*, force: bool) -> None:
    """Run the teacher over what the store does not have yet; with --force, over everything."""
    params = load_params()
    settings = parse_section(CaptureSettings, params.get("capture"), "capture")
    task = TASKS[parse_section(TaskSettings, params.get("task"), "task").kind]
    runtime = parse_section(RuntimeSettings, params.get("runtime"), "runtime")
    tokens = open_captured_tokens(TOKENS, AUGMENTED, GENERATED)
    codes = code_names("capture", EXTRACTION)
    inputs = {
        "tokens": tokens.digest,
        "weights": digest_weights(TEACHER) if has_weights(TEACHER) else "",
        "config": digest_config(read_config(TEACHER)),
        "settings": digest_json([settings.model_dump(mode="json"), task.kind]),
        "code": codes[0],
    }
    stamp = Stamp(STAMPS / "capture.json", (STORE / MANIFEST_NAME,))
    if not force:
        if stamp.holds(inputs, codes=codes):
            check_whole(STORE, read_manifest(STORE))
            click.echo("capture: the store has everything that is asked for; nothing was computed")
            return
        _check_code(stamp.read().get("inputs", {}).get("code"), codes)
    if runtime.processes > 1 and not is_started_with_others():
        forced = ("--force",) if force else ()
        run_in_processes("stages.capture", *forced, count=runtime.processes)
        return

    with importing():
        from pipeline.teacher.capture import capture, describe_capture

    with joined_processes() as processes:
        started = perf_counter()
        if processes.is_main:
            if force:
                discard_store(STORE)
            stamp.begin(inputs)
        processes.wait_for_all()
        report = capture(
            TEACHER,
            tokens,
            task,
            settings,
            STORE,
            device=pick_device(runtime, processes.local_rank),
            batch_tokens=runtime.batch_tokens,
            processes=processes,
        )
        if processes.is_main:
            stamp.write(inputs)
            record_seconds("capture", started, digest_file(STORE / MANIFEST_NAME))
            if (taken := report.taken) is not None:
                click.echo(
                    f"capture: {taken.n_rows:,} rows in {taken.n_segments:,} segments and "
                    f"{taken.n_arrays:,} further arrays came from the store that was given"
                )
            click.echo(f"capture: {describe_capture(report)}")


def _check_code(captured_by: str | None, codes: tuple[str, ...]) -> None:
    """Refuse to add to a store whose rows came from code that may give other signals."""
    if captured_by is None or captured_by in codes or not (STORE / MANIFEST_NAME).is_file():
        return
    raise StoreMismatchError(
        f"{STORE} was captured by other code ({captured_by[:12]}, now {codes[0][:12]}), and the "
        "signals may differ. Run 'decant capture --force' to capture all of it again; or undo the "
        "change; or, where it alters no signal, record it with 'python -m tests.recorded_code'."
    )


if __name__ == "__main__":
    main()
