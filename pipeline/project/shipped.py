"""YAML files that come with the package, to be read and copied from as well as applied.

They lie in a folder beside this package: of the checkout where the project runs from one, of
site-packages where a wheel was installed, which carries the folder as a package of data. So
there is one copy, at the top of the checkout where people look for it, and neither the current
folder nor another distribution's package of that name can take its place.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pipeline.core.errors import SettingsError

BESIDE_PACKAGE = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Shipped:
    """One file; the first line, a comment, says what it is."""

    name: str
    text: str
    """The whole file."""

    @property
    def description(self) -> str:
        """What it is, in one line: its first comment."""
        return self.text.splitlines()[0].removeprefix("#").strip()


File = TypeVar("File", bound=Shipped)


def read_shipped(folder: Path, kind: type[File]) -> list[File]:
    """Return the files of a folder and its folders, named by their paths in it, in order."""
    return [
        kind(path.relative_to(folder).with_suffix("").as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.yaml"))
    ]


def find_shipped(files: Iterable[File], name: str) -> File:
    """Return the file of that name.

    Raises:
        SettingsError: there is none; with the nearest name, or all of them.
    """
    by_name = {file.name: file for file in files}
    if name not in by_name:
        near = difflib.get_close_matches(name, by_name, n=1)
        remedy = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(by_name)}"
        kind = type(next(iter(by_name.values()))).__name__.lower()
        raise SettingsError(f"{kind} '{name}' does not exist; {remedy}")
    return by_name[name]


def listing(files: Sequence[Shipped]) -> list[str]:
    """Return a line for each file, with what it is."""
    width = max(len(file.name) for file in files)
    return [f"{file.name:{width}}  {file.description}" for file in files]
