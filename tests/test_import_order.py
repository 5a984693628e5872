"""Packages of pipeline/ import each other in one direction, along the stages."""

import ast
from collections.abc import Iterator

import pytest

from pipeline.core.stamp import import_closure
from tests.imports import ROOT

LIBRARY = ROOT / "pipeline"
ORDER = (
    "core",
    "text",
    "tasks",
    "models",
    "signals",
    "store",
    "metrics",
    "teacher",
    "objectives",
    "student",
    "train",
    "evaluate",
    "report",
    "export",
    "store_tools",
    "share",
    "project",
)
STAGE_TWO = ("objectives", "student", "train", "evaluate", "report", "export")
"""What `teacher` must not reach: a loss would else be a reason to run the teacher again."""


def imports_between_packages() -> Iterator[tuple[str, str, str]]:
    """Yield (file, its package, the imported package) for imports of another package."""
    for path in LIBRARY.glob("*/**/*.py"):
        package = path.relative_to(LIBRARY).parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            for name in names:
                top, _, rest = name.partition(".")
                if top == "pipeline" and rest and rest.split(".")[0] != package:
                    yield str(path.relative_to(ROOT)), package, rest.split(".")[0]


def test_every_package_has_its_place() -> None:
    """A package that the order lacks would not be looked at."""
    packages = {path.parent.name for path in LIBRARY.glob("*/__init__.py")}
    assert packages == set(ORDER)


def test_imports_go_one_way() -> None:
    """An import against the order ties two packages together, and reruns stages for nothing."""
    found = list(imports_between_packages())
    assert len(found) > 200
    wrong = [
        f"{file} imports {imported}"
        for file, package, imported in found
        if ORDER.index(imported) > ORDER.index(package)
    ]
    assert not wrong


@pytest.mark.parametrize(
    "path", sorted(path.stem for path in (LIBRARY / "teacher").glob("[a-z]*.py"))
)
def test_the_teacher_reaches_nothing_of_stage_two(path: str) -> None:
    """Catches a detour: an import that is allowed, of a module that imports a loss."""
    reached = import_closure(f"pipeline.teacher.{path}")
    assert not [file for file in reached if file.split("/")[1] in STAGE_TWO]
