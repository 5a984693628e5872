"""How long commands take before they do anything: `python -m benchmarks.start_up`.

Run it in a project in which `dvc repro` has run. It prints the median of wall and CPU seconds of
each command in processes of their own, once with byte code on disk and once without. `distill` and
`evaluate` are stopped at their first forward. With `--student NAME` it then changes that student's
seed, runs `dvc repro`, and prints what that takes besides the student's training and evaluation.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ruamel.yaml import YAML

_STOPPED = """
import importlib.abc, importlib.util, os, runpy, sys

class Stop(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "torch.nn.modules.module":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module
        def exec_module(module):
            run(module)
            module.register_module_forward_pre_hook(lambda *_: os._exit(0))
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Stop())
sys.argv[:] = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
raise SystemExit("no forward")
"""
"""Runs the module that it is given until a model is called."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--student", help="Change this student's seed and time 'dvc repro'.")
    options = parser.parse_args()
    (student, *_) = YAML(typ="safe").load(Path("params.yaml").read_text("utf-8"))["students"]
    student = options.student or student
    stopped = (sys.executable, "-c", _STOPPED)
    commands = {
        "decant --help": ("decant", "--help"),
        "decant check": ("decant", "check"),
        f"select {student}": _module("select", student),
        "augment (off)": _module("augment", "--force"),
        "generate (off)": _module("generate", "--force"),
        "report": _module("report"),
        f"distill {student} (kept)": _module("distill", student),
        f"distill {student}, to its first step": (*stopped, "stages.distill", student, "--force"),
        f"evaluate {student}, to its first row": (*stopped, "stages.evaluate", student, "--force"),
    }
    print("| command | wall s | CPU s | wall s, no byte code | CPU s, no byte code |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as cache:
        for name, command in commands.items():
            cached = _measure(command, options.repeats, {"PYTHONPYCACHEPREFIX": cache})
            plain = _measure(
                command,
                options.repeats,
                {"PYTHONPYCACHEPREFIX": f"{cache}/none", "PYTHONDONTWRITEBYTECODE": "1"},
            )
            print(f"| `{name}` | {' | '.join(f'{value:.2f}' for value in (*cached, *plain))} |")
    if options.student:
        print(f"\n{_changed_student(student)}")


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return sys.executable, "-m", f"stages.{name}", *arguments


def _measure(
    command: tuple[str, ...], n_repeats: int, changes: dict[str, str]
) -> tuple[float, float]:
    """Return the medians of wall and CPU seconds; one run before them is not counted."""
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    wall, cpu = [], []
    for repeat in range(n_repeats + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        done = subprocess.run(
            command, env=environment | changes, capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - started
        if done.returncode:
            raise SystemExit(f"{' '.join(command[-3:])} failed: {done.stderr}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if repeat:
            wall.append(seconds)
            cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(wall), statistics.median(cpu)


def _changed_student(student: str) -> str:
    """Change a student's seed, run `dvc repro`, and say what it takes; params.yaml stays so."""
    yaml = YAML()
    path = Path("params.yaml")
    params = yaml.load(path)
    training = params["students"][student].setdefault("training", {})
    training["seed"] = training.get("seed", 0) + 1
    yaml.dump(params, path)
    started = time.perf_counter()
    subprocess.run(("dvc", "repro"), check=True, capture_output=True)
    total = time.perf_counter() - started
    parts = [
        json.loads(Path(f"artifacts/seconds/{stage}@{student}.json").read_text("utf-8"))["seconds"]
        for stage in ("distill", "evaluate")
    ]
    return (
        f"`dvc repro` after a change of {student}: {total:.1f} s, of which training "
        f"{parts[0]:.1f} s and evaluation {parts[1]:.1f} s; the rest {total - sum(parts):.1f} s"
    )


if __name__ == "__main__":
    main()
