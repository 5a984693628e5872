"""The names of kinds of task: known where each kind is defined, and in tables of wording.

A kind that is compared with elsewhere is a place that whoever adds a kind must find.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from pipeline.tasks import TASKS
from tests.imports import PACKAGES, ROOT

DEFINED_IN = "pipeline/tasks/"
NAMED_IN = {
    "pipeline/report/wording.py": "what the report says about each kind, in its own table",
    "pipeline/train/card_wording.py": "what model cards say about each kind",
    "pipeline/project/fit.py": "which kind the columns of a user's files look like",
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Yield the path and the syntax tree of every source file."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def kinds_named_in(tree: ast.AST) -> list[str]:
    """Return the names of kinds that are string literals, as they stand."""
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in TASKS
    ]


def test_only_tasks_and_tables_of_wording_name_a_kind() -> None:
    """Catches `if kind ==` in a file that a new kind of task would have to edit."""
    allowed = (DEFINED_IN, *NAMED_IN)
    found = {path: kinds_named_in(tree) for path, tree in sources()}
    assert {
        path: kinds for path, kinds in found.items() if kinds and not path.startswith(allowed)
    } == {}
    assert sum(map(bool, found.values())) >= len(TASKS), "the look finds kinds where they are"
    for place in NAMED_IN:
        assert any(kinds for path, kinds in found.items() if path.startswith(place)), place


def test_only_tasks_and_the_token_table_know_formats_of_labels() -> None:
    """Catches a task that is told by how its labels stand in the token table."""
    known = ("pipeline/tasks/", "pipeline/text/")
    users = {
        path
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "label_kind"
    }
    assert {path for path in users if not path.startswith(known)} == set()
    assert users


def test_text_knows_no_task() -> None:
    """Catches the arrow that ran back: sources and tables that import what stands on them."""
    imported = {
        path: {
            node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipeline.")
        }
        for path, tree in sources()
    }
    for package, below in {
        "pipeline/text/": ("pipeline.core", "pipeline.text"),
        "pipeline/tasks/": ("pipeline.core", "pipeline.text", "pipeline.tasks"),
    }.items():
        own = {path: names for path, names in imported.items() if path.startswith(package)}
        assert len(own) > 10
        assert {
            path for path, names in own.items() if not all(n.startswith(below) for n in names)
        } == (set())


def test_the_look_sees_a_literal(tmp_path: Path) -> None:
    """The negative control: a comparison with a kind is found."""
    tree = ast.parse("if task.kind == 'regression':\n    pass\n")
    assert kinds_named_in(tree) == ["regression"]
