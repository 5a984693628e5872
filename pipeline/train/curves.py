"""The curves of a training, in DVCLive's files."""

from collections.abc import Mapping
from pathlib import Path
from shutil import copytree, rmtree
from typing import TYPE_CHECKING, Any

from pipeline.core.atomic import replacing_folder
from pipeline.core.errors import DataError

if TYPE_CHECKING:
    from dvclive.live import Live

Point = dict[str, Any]
"""`step`, and `values` by name."""


CURVES_NAME = "curves"
"""The folder with DVCLive's files in that of a student."""


def publish_curves(student_dir: Path, folder: Path) -> None:
    """Put a finished student's curves, one TSV file each, where `dvc plots` looks for them."""
    with replacing_folder(folder) as partial:
        copytree(student_dir / CURVES_NAME / "plots" / "metrics", partial, dirs_exist_ok=True)


class Curves:
    """Writes points to files while a training runs, and holds them for one that goes on later."""

    def __init__(self, folder: Path, points: list[Point], *, is_written: bool = True) -> None:
        """Begin anew in `folder` with the points of the steps before.

        Of several processes one writes; the points are held by all.

        Raises:
            DataError: the project's git repository has no commit, which DVCLive needs.
        """
        self.points: list[Point] = []
        self._live = _open(folder) if is_written else None
        for point in points:
            self.log(point["step"], point["values"])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve that is named."""
        self.points.append({"step": step, "values": dict(values)})
        if self._live is None:
            return
        self._live.step = step
        for name, value in values.items():
            self._live.log_metric(name, value)

    def close(self) -> None:
        """Write what is left."""
        if self._live is not None:
            self._live.end()


def _open(folder: Path) -> "Live":
    from dvclive.live import Live
    from scmrepo.exceptions import SCMError

    rmtree(folder, ignore_errors=True)
    try:
        return Live(str(folder), save_dvc_exp=False, dvcyaml=None)
    except SCMError as error:
        raise DataError(
            f"DVCLive cannot read this git repository: {error}. Make a first commit "
            "(git add . && git commit) and run the stage again."
        ) from error
