"""dvc.yaml against the code: a stage reruns for what it imports, and for nothing else."""

from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.core.stamp import import_closure
from pipeline.project.check import SECTIONS
from tests.imports import PACKAGES, ROOT


def load(name: str) -> dict[str, Any]:
    """Return a YAML file of the repository."""
    loaded = YAML(typ="safe").load((ROOT / name).read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


STAGES: dict[str, dict[str, Any]] = {
    name: stage.get("do", stage) for name, stage in load("dvc.yaml")["stages"].items()
}


def package_of(path: str) -> str:
    """Return what stands for a source file among the deps: its package, or a stage's own file."""
    folder, *rest = path.split("/")
    return path if folder == "stages" else f"{folder}/{rest[0]}"


@pytest.mark.parametrize("name", STAGES)
def test_deps_are_exactly_the_packages_that_the_stage_imports(name: str) -> None:
    """A missing dep leaves a stale result; one too many runs a stage for nothing."""
    listed = {dep for dep in STAGES[name]["deps"] if dep.split("/")[0] in PACKAGES}
    imported = import_closure(f"stages.{name}")
    assert len(imported) > 5
    empty = {"pipeline/__init__.py", "stages/__init__.py"}
    assert listed == {package_of(path) for path in imported.keys() - empty}


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
