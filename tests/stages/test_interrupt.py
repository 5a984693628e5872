"""Ctrl-C in the middle of each stage: one line, exit 1, nothing unfinished left behind."""

import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import transformers

import pipeline.evaluate.evaluate
import pipeline.store.view
import pipeline.text.augment
import pipeline.text.tokenise
import pipeline.train.step
import stages.report
from pipeline.core.fingerprint import digest_folder
from pipeline.store.reader import open_store
from pipeline.store.writer import StoreWriter
from tests.small_project import PARAMS, change, write_params
from tests.stages.conftest import invoke


def press_ctrl_c(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` preceded by a real SIGINT to this process."""

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return function(*args, **kwargs)

    return interrupted


@pytest.fixture(autouse=True)
def hears_ctrl_c() -> Iterator[None]:
    """Give this process the usual answer to Ctrl-C: one that runs in the background ignores it."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


INTERRUPTED_IN = {
    "prepare": (pipeline.text.tokenise, "make_rows"),
    "augment": (pipeline.text.augment, "vary"),
    "finetune": (transformers.Trainer, "training_step"),
    "capture": (StoreWriter, "commit"),
    "select": (pipeline.store.view, "read_row_table"),
    "distill": (pipeline.train.step.DistillationStep, "outputs"),
    "evaluate": (pipeline.evaluate.evaluate, "measure_costs"),
    "report": (stages.report, "write_report"),
}


@pytest.mark.parametrize("name", INTERRUPTED_IN)
@pytest.mark.parametrize("has_old_result", [True, False])
def test_ctrl_c(
    name: str, has_old_result: bool, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half-written result under its final name would be taken for a whole one."""
    results = {
        "prepare": ["artifacts/tokens"],
        "augment": ["artifacts/augmented"],
        "finetune": ["artifacts/teacher"],
        "capture": ["artifacts/teacher_store"],
        "select": ["artifacts/views/kd-2.json", "artifacts/shown/kd-2.json"],
        "distill": ["artifacts/students/kd-2"],
        "evaluate": ["artifacts/evaluations/kd-2", "reports/metrics/kd-2.json"],
        "report": ["reports/report.html", "reports/report.md"],
    }[name]
    params = change(PARAMS, "teacher.epochs", 2)
    params = change(params, "augmentation.n_copies", 2)
    params = change(params, "training.epochs", 3)
    params = change(params, "evaluation.n_latency_repeats", 2)
    write_params(project, change(params, "capture.signals.attentions.layers", [2, 3]))
    if not has_old_result:
        for result in results:
            path = project / result
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = digest_folder(project)
    owner, attribute = INTERRUPTED_IN[name]
    monkeypatch.setattr(owner, attribute, press_ctrl_c(getattr(owner, attribute)))

    arguments = ["kd-2"] if name in ("select", "distill", "evaluate") else []
    forced = ["--force"] if name == "prepare" else []  # nothing in its settings has changed
    stopped = invoke(name, *arguments, *forced)

    assert stopped.exit_code == 1
    lines = [line for line in re.split(r"[\r\n]+", stopped.stderr) if "interrupted" in line]
    assert lines == [f"{name}: interrupted; no result was left half-written. Run it again."]
    assert "Traceback" not in stopped.stderr
    after = digest_folder(project)
    if name == "capture":  # the segment in the other thread may be committed, and stays
        grown = ("artifacts/teacher_store/manifest.json", "artifacts/stamps/capture.json")
        assert {name: after[name] for name in before if name not in grown} == {
            name: before[name] for name in before if name not in grown
        }
        open_store(project / "artifacts" / "teacher_store")
        monkeypatch.undo()
        monkeypatch.chdir(project)
        assert invoke(name).exit_code == 0
    else:  # what a training leaves to go on from is no result
        kept = {name: after[name] for name in after if not name.startswith("artifacts/unfinished/")}
        assert kept == before
        assert name == "distill" or kept == after
