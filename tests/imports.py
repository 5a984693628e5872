"""Which files of this project a module imports, read from the source, transitively."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("pipeline", "stages")
_NAMED_CLASS = re.compile(r"^([\w.]+):[A-Z]\w+$")


def import_closure(module: str) -> set[str]:
    """Return the project's files that importing `module` runs, itself included.

    Imports inside functions count, and so do classes named as `module:Class`; those for type
    checking alone do not.
    """
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        for part in _with_parents(name):
            path = _file_of(part)
            if path is not None and path not in seen:
                seen.add(path)
                waiting += _imports(ROOT / path)
    return seen


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:stop]) for stop in range(1, len(parts) + 1)]


def _file_of(module: str) -> str | None:
    if module.split(".")[0] not in PACKAGES:
        return None
    path = Path(*module.split("."))
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if (ROOT / candidate).is_file():
            return candidate.as_posix()
    return None


def _imports(path: Path) -> list[str]:
    names = []
    for node in _running_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names += _NAMED_CLASS.findall(node.value)
    return names


def _running_nodes(tree: ast.AST) -> list[ast.AST]:
    if isinstance(tree, ast.If) and ast.unparse(tree.test) == "TYPE_CHECKING":
        return []
    children = [node for child in ast.iter_child_nodes(tree) for node in _running_nodes(child)]
    return [tree, *children]
