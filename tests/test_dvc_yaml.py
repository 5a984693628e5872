"""dvc.yaml against the code: a stage reruns for what it imports, and for nothing else."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.check import SECTIONS
from tests.imports import PACKAGES, ROOT, import_closure


def load(name: str) -> dict[str, Any]:
    """Return a YAML file of the repository."""
    loaded = YAML(typ="safe").load((ROOT / name).read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


STAGES: dict[str, dict[str, Any]] = {
    name: stage.get("do", stage) for name, stage in load("dvc.yaml")["stages"].items()
}


def code_deps(stage: dict[str, Any]) -> set[str]:
    """Return the source files that a stage's deps stand for, folders opened."""
    deps = [Path(dep) for dep in stage["deps"] if dep.split("/")[0] in PACKAGES]
    files: set[Path] = set()
    for dep in deps:
        assert (ROOT / dep).exists(), f"{dep} is listed but does not exist"
        files |= set((ROOT / dep).rglob("*")) if (ROOT / dep).is_dir() else {ROOT / dep}
    return {
        path.relative_to(ROOT).as_posix()
        for path in files
        if path.is_file() and "__pycache__" not in path.parts
    }


TABLES = ("pipeline/objectives", "pipeline/student")
"""Folders that a new objective or student is put into; they are deps as a whole."""


@pytest.mark.parametrize("name", STAGES)
def test_deps_are_exactly_what_the_stage_imports(name: str) -> None:
    """A missing dep leaves a stale result; one too many runs the teacher for nothing."""
    listed = code_deps(STAGES[name])
    imported = import_closure(f"stages.{name}")
    assert len(imported) > 5
    for folder in TABLES:  # a new file of one is a dep without a line in dvc.yaml
        if any(path.startswith(folder) for path in imported):
            imported |= {
                path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py")
            }
    if "pipeline/evaluate/report.py" in imported:
        imported.add("pipeline/evaluate/report.html.jinja")
    assert listed == imported


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_runs_its_own_module(name: str) -> None:
    """A stage renamed in one place only would run another stage's code."""
    assert STAGES[name]["cmd"].startswith(f"python -m stages.{name}")


@pytest.mark.parametrize("name", ["prepare", "augment", "finetune", "generate", "capture"])
def test_teacher_stages_do_not_import_stage_two(name: str) -> None:
    """One convenient import would make every loss a reason to run the teacher again."""
    imported = import_closure(f"stages.{name}")
    stage_two = ("pipeline/objectives", "pipeline/student", "pipeline/train", "pipeline/evaluate")
    assert not [path for path in imported if path.startswith(stage_two)]


def test_params_sections_have_models() -> None:
    """A section that no model reads would be accepted whatever it says."""
    known = {*SECTIONS, "students"}
    assert set(load("params.yaml")) <= known
    used = {
        str(param).split(".")[0] for stage in STAGES.values() for param in stage.get("params", [])
    }
    assert used == known - {"runtime"}
    assert "runtime" in SECTIONS
