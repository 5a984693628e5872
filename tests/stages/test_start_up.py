"""What commands import: one that has nothing to do does not wait for torch.

The tests look at the set of modules, never at the time.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import make_sentences, write_csv
from tests.imports import ROOT

HEAVY = frozenset(
    (
        *("torch", "transformers", "sklearn", "scipy", "pandas", "torchmetrics", "datasets"),
        *("accelerate", "seqeval", "sacrebleu", "onnx", "onnxruntime"),
        *("huggingface_hub", "matplotlib"),
    )
)

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("check",),
    ("select", "kd-2"),
    ("augment", "--force"),
    ("generate", "--force"),
    ("report",),
    ("plan",),
    ("coverage",),
    ("inspect",),
    ("verify",),
    ("recipe", "--list"),
    ("recipe", "hinton-kd"),
    ("preset", "--list"),
    ("preset", "glue/sst2"),
    ("seeds", "kd-2", "1"),
    # With nothing to do:
    ("prepare",),
    ("augment",),
    ("finetune",),
    ("generate",),
    ("capture",),
    ("distill", "kd-2"),
    ("evaluate", "kd-2"),
)
"""Commands in a finished project, which all do without what is heavy."""

_RUN = """
import atexit, json, runpy, sys
def note():
    with open("modules.json", "w") as file:
        json.dump(sorted({name.split(".")[0] for name in sys.modules}), file)
atexit.register(note)
sys.argv[:] = sys.argv[1:]
runpy.run_module(f"stages.{sys.argv[0]}", run_name="__main__", alter_sys=True)
"""


def imported_by(*command: str) -> set[str]:
    """Run a command in the current folder; return the top-level modules that it imported."""
    done = subprocess.run(
        (sys.executable, "-c", _RUN, *command),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    modules = set(json.loads(Path("modules.json").read_text(encoding="utf-8")))
    assert {"click", "pipeline", "stages"} <= modules
    return modules


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_imports_only_what_it_uses(command: tuple[str, ...], project: Path) -> None:
    """Catches seconds of start-up for a library that the command does not use."""
    assert not imported_by(*command) & HEAVY


def test_work_imports_what_it_needs(project: Path) -> None:
    """The negative control: the same look at a command that runs a model finds torch."""
    assert {"torch", "transformers"} <= imported_by("evaluate", "kd-2", "--force")


def test_new_does_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a wait for torch before the first question is answered."""
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "data" / "train.csv", make_sentences(60))
    options = ("--data", "data", "--text", "text", "--label", "label")
    assert not imported_by("new", "project", *options) & {"torch", "sklearn", "scipy", "datasets"}
