"""The curves of a training: one TSV file each, `step` and a value, as `dvc plots` reads them."""

from collections.abc import Mapping
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

from pipeline.core.atomic import replacing_folder

Point = dict[str, Any]
"""`step`, and `values` by name."""

CURVES_NAME = "curves"
"""The folder with the curves in that of a student."""


def publish_curves(student_dir: Path, folder: Path) -> None:
    """Put a finished student's curves where `dvc plots` looks for them."""
    with replacing_folder(folder) as partial:
        copytree(student_dir / CURVES_NAME, partial, dirs_exist_ok=True)


class Curves:
    """Writes points to files while a training runs, and holds them for one that goes on later."""

    def __init__(self, folder: Path, points: list[Point], *, is_written: bool = True) -> None:
        """Begin anew in `folder` with the points of the steps before.

        Of several processes one writes; the points are held by all.
        """
        self.points: list[Point] = []
        self._folder = folder if is_written else None
        if is_written:
            rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        for point in points:
            self.log(point["step"], point["values"])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve that is named."""
        self.points.append({"step": step, "values": dict(values)})
        if self._folder is None:
            return
        for name, value in values.items():
            path = self._folder / f"{name}.tsv"
            is_new = not path.exists()
            path.parent.mkdir(exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                if is_new:
                    file.write(f"step\t{path.stem}\n")
                file.write(f"{step}\t{value}\n")
