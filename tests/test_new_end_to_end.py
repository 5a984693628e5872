"""Projects that `decant new` makes, run by `dvc repro` to the report, for kinds of task.

With tiny random teachers and small rows of the test's own; presets are tried with real rows where
DECANT_PUBLIC_DATA names a folder with the data sets.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.project.presets import find_preset
from pipeline.tasks.task import Kind
from tests.forking import commands
from tests.imports import ROOT
from tests.project.new_projects import new_project
from tests.tasks.small_tasks import LABELS, make_teacher
from tests.tasks.task_project import PUBLIC
from tests.text.test_public_data import DATA

pytestmark = pytest.mark.timeout(1200)

KINDS: tuple[Kind, ...] = (
    "token_classification",
    "regression",
    "question_answering",
    "sequence_to_sequence",
)


def make_decant(folder: Path) -> None:
    """Write a `decant` that starts as fast as the forked `python` does."""
    folder.mkdir()
    script = folder / "decant"
    script.write_text(
        '#!/bin/sh\nname=$1; shift; exec python -m "stages.$name" "$@"\n', encoding="utf-8"
    )
    script.chmod(0o755)


def run(project: Path, *command: str) -> str:
    """Run a command in the project and return all that it printed."""
    programs = project.parent / "programs"
    if not programs.exists():
        make_decant(programs)
    path = [str(programs), str(commands()), os.environ["PATH"]]
    environment = {**os.environ, "PATH": os.pathsep.join(path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def shorten(project: Path) -> dict[str, Any]:
    """Keep the student of labels alone and the one of all objectives, and a few updates of each."""
    yaml = YAML()
    params = yaml.load((project / "params.yaml").read_text(encoding="utf-8"))
    of_layers = [name for name, one in params["students"].items() if "n_layers" in one["model"]]
    for name in set(params["students"]) - {of_layers[0], of_layers[-1]}:
        del params["students"][name]
    for section in ("teacher", "training"):
        params[section]["epochs"] = 2
    params["evaluation"]["n_latency_repeats"] = 1
    with (project / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(params, file)
    return {name: dict(one["objectives"]) for name, one in params["students"].items()}


def check_report(project: Path, kind: Kind, students: dict[str, Any]) -> None:
    """Fail unless every stage ran and the report has every student."""
    ran = re.findall(r"Running stage '([^']+)'", run(project, "dvc", "repro"))
    assert ran[0] == "prepare" and ran[-1] == "report"
    assert {f"evaluate@{name}" for name in students} <= set(ran)
    report = (project / "reports/report.md").read_text(encoding="utf-8")
    for name in students:
        assert name in report
        measured = json.loads((project / f"reports/metrics/{name}.json").read_bytes())
        assert measured["task"] == kind and set(measured["splits"]) == {"validation", "test"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_project_runs_to_its_report(kind: Kind, tmp_path: Path) -> None:
    """Catches a project whose own params some stage refuses, once the teacher was trained."""
    assert new_project(tmp_path, kind).exit_code == 0
    project = tmp_path / "project"
    students = shorten(project)
    matched = {name for objectives in students.values() for name in objectives}
    assert "attentions" in matched
    assert ("cross_attentions" in matched) == (kind == "sequence_to_sequence")
    check_report(project, kind, students)


@pytest.mark.parametrize("data_set", ["conll2003", "race_middle", "wikitext2_subset", "mrpc"])
def test_a_preset_with_real_rows(data_set: str, tmp_path: Path) -> None:
    """Catches a preset that a new project cannot be begun with."""
    kind, name = PUBLIC[data_set]
    if not (DATA / data_set).is_dir():
        pytest.skip(f"{DATA / data_set} is not here; DECANT_PUBLIC_DATA names the folder above it")
    labels = tuple(find_preset(name).settings["data"].get("labels", LABELS[kind]))
    make_teacher(tmp_path / "base", kind, labels)
    files = tmp_path / "rows"
    shutil.copytree(DATA / data_set, files, copy_function=shutil.copyfile)
    result = new_project(tmp_path, kind, "--preset", name, "--max-rows", "60", data=files)
    assert result.exit_code == 0, result.output
    project = tmp_path / "project"
    students = shorten(project)
    yaml = YAML()
    params = yaml.load((project / "params.yaml").read_text(encoding="utf-8"))
    params["data"]["max_rows"] |= {"validation": 20, "test": 20}
    with (project / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(params, file)
    check_report(project, kind, students)
