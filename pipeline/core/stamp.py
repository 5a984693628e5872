"""Stamps: what a result was made from, so that a stage knows whether it has anything to do.

DVC decides by packages whether a stage is due, which is coarse. A stage that DVC starts then
decides by its stamp: the digests of its inputs, of its settings and of its code. The code is the
stage's whole import closure, read from the source, so no list of files is kept by hand. Comments,
docstrings and the wording of errors do not count; every other change does. Nothing here imports
more than the standard library and this project's digests, so the decision takes well under a
second.

Code that costs a teacher has a version as well: see `code_names`.
"""

import ast
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.core.atomic import write_json
from pipeline.core.fingerprint import digest_file, digest_json

STAMP_NAME = "stamp.json"
METRICS_NAME = "metrics.json"
"""What a result that is measured says of itself in numbers, in the same folder."""
RECORDED_CODE = Path(__file__).with_name("recorded_code.json")
"""The code that each version stands for: {stage: [version, code digest]}."""

_ROOT = Path(__file__).parents[2]
_LIBRARY, _STAGES = "pipeline", "stages"
_NAMED_CLASS = re.compile(r"[\w.]+:[A-Z]\w+")


@dataclass(frozen=True)
class Stamp:
    """The file that says what some files were made from."""

    path: Path
    outputs: tuple[Path, ...]
    """Files, or folders whose every file counts."""

    def holds(self, inputs: Mapping[str, str], *, codes: Sequence[str] = ()) -> bool:
        """Say whether the outputs are here, undamaged, and were made from exactly these inputs.

        `inputs` maps a name for each thing that the outputs depend on to its digest; `codes` are
        all names of the code (`code_names`) where it has several.
        """
        record = self.read()
        accepted = [{**inputs, "code": code} for code in codes] or [dict(inputs)]
        return record.get("inputs") in accepted and record.get("outputs") == self._digests()

    def begin(self, inputs: Mapping[str, str]) -> None:
        """Note what the outputs are going to be made from; such a stamp does not hold."""
        write_json(self.path, {"inputs": dict(inputs), "outputs": None})

    def write(self, inputs: Mapping[str, str]) -> None:
        """Stamp the finished outputs."""
        write_json(self.path, {"inputs": dict(inputs), "outputs": self._digests()})

    def read(self) -> dict[str, Any]:
        """Return `inputs` and `outputs`, by name; nothing where there is no whole stamp."""
        try:
            record = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def _digests(self) -> dict[str, str]:
        # By the path from the stamp's own folder: a folder is stamped before it gets its name.
        return {
            os.path.relpath(path, self.path.parent): digest_file(path)
            for output in self.outputs
            for path in (sorted(output.rglob("*")) if output.is_dir() else [output])
            if path.is_file() and path != self.path
        }


def stamp_in(folder: Path) -> Stamp:
    """Return the stamp that lies in a folder and covers every other file there."""
    return Stamp(folder / STAMP_NAME, (folder,))


def code_of(stage: str) -> str:
    """Return what stands for a stage's code among its inputs: the digest of `stages.STAGE`."""
    return code_digest(f"{_STAGES}.{stage}")


def code_names(stage: str, version: int) -> tuple[str, ...]:
    """Return what can stand for the code of a stage that costs a teacher; write the first.

    Its results are not made again for every refactoring: the stage has a `version`, raised by
    hand when they can differ. Where `recorded_code.json` says that this code is that version's,
    the version stands for it, beside its digest. Code that is not recorded has only its digest,
    so that an edit never leaves a stale result.
    """
    code = code_of(stage)
    recorded = json.loads(RECORDED_CODE.read_text(encoding="utf-8"))
    return (f"version {version}", code) if recorded.get(stage) == [version, code] else (code,)


def code_digest(module: str, root: Path = _ROOT) -> str:
    """Return the digest of all code of this project that running `module` can reach.

    It is the same for every version of Python that parses the code.
    """
    files = import_closure(module, root)
    templates = {
        path.relative_to(root).as_posix(): digest_file(path)
        for folder in sorted({(root / name).parent for name in files})
        for path in sorted(folder.glob("*.jinja"))
    }
    return digest_json(files | templates)


def import_closure(module: str, root: Path = _ROOT) -> dict[str, str]:
    """Return, by path from `root`, the digest of each file that importing `module` can run.

    It is the digest of the file's syntax tree. Imports inside functions count, and so do
    classes named as `module:Class`; imports for type checking alone do not. Of the stages only
    `module` itself counts: the others frame its work and decide nothing about its result.
    """
    files: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name.split(".")[0] == _STAGES and name != module:
            continue
        for path in _files_of(name, root):
            if path not in files:
                files[path], imported = _read((root / path).read_bytes())
                waiting += imported
    return dict(sorted(files.items()))


def _files_of(module: str, root: Path) -> Iterator[str]:
    """Yield the files that importing a module runs: its packages' and its own."""
    parts = module.split(".")
    if parts[0] not in (_LIBRARY, _STAGES):
        return
    for stop in range(1, len(parts) + 1):
        path = "/".join(parts[:stop])
        for candidate in (f"{path}/__init__.py", f"{path}.py"):
            if (root / candidate).is_file():
                yield candidate


@cache
def _read(source: bytes) -> tuple[str, tuple[str, ...]]:
    """Return the digest of a file's code, and the modules that it imports."""
    code = _Code(ast.parse(source))
    return digest_json(code.words), tuple(code.imported)


class _Code:
    """A syntax tree as words, and the names of the modules that it imports."""

    def __init__(self, tree: ast.AST) -> None:
        self.words: list[str] = []
        self.imported: list[str] = []
        self._add(tree)

    def _add(self, value: object) -> None:
        if isinstance(value, ast.AST):
            self._add_node(value)
        elif isinstance(value, list):
            self.words.append("[")
            for item in value:
                if not _is_text(item):
                    self._add(item)
            self.words.append("]")
        else:
            self.words.append(repr(value))
            if isinstance(value, str) and _NAMED_CLASS.fullmatch(value):
                self.imported.append(value.partition(":")[0])

    def _add_node(self, node: ast.AST) -> None:
        n_imported = len(self.imported)
        skipped: tuple[str, ...] = ()
        if isinstance(node, ast.Import):
            self.imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            self.imported += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Assert):
            skipped = ("msg",)
        elif isinstance(node, ast.Raise) and _is_error(node.exc):
            # What is said when it goes wrong; which error it is counts, since it may be caught.
            assert isinstance(node.exc, ast.Call)
            node = ast.Raise(exc=node.exc.func, cause=node.cause)
        elif isinstance(node, ast.JoinedStr):  # Python 3.12 leaves empty pieces in some
            pieces = (value for value in node.values if getattr(value, "value", None) != "")
            node = ast.JoinedStr(values=list(pieces))
        self.words.append(type(node).__name__)
        # Newer versions of Python have more fields, which are empty where nothing new is used.
        for field in node._fields:
            value = getattr(node, field, None)
            if value is not None and value != [] and field not in skipped:
                self.words.append(field)
                self._add(value)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            del self.imported[n_imported:]


def _is_text(item: object) -> bool:
    """Say whether a statement is a docstring, of a field too."""
    return (
        isinstance(item, ast.Expr)
        and isinstance(item.value, ast.Constant)
        and isinstance(item.value.value, str)
    )


def _is_error(raised: ast.expr | None) -> bool:
    """Say whether `raised` makes an error, whose arguments say what went wrong."""
    if not isinstance(raised, ast.Call):
        return False
    name = getattr(raised.func, "attr", getattr(raised.func, "id", ""))
    return str(name).endswith("Error")
