"""One student's curves in every experiment of a sweep, side by side in one SVG.

Reads what DVC keeps of the experiments of the project in the current folder (`dvc exp run`);
nothing is run. The value that was swept is the label of each line.
"""

import csv
import io
from pathlib import Path
from statistics import mean

import click
import dvc.api
from matplotlib.figure import Figure
from matplotlib.style import context

_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "sweep", "font.size": 9.0}
_FEW_POINTS = 10
_MOST_POINTS = 25
_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


@click.command()
@click.option("--student", required=True)
@click.option("--param", required=True, help="What was swept, by its dotted path in params.yaml.")
@click.option("--curve", "curves", multiple=True, required=True, help="Such as train/soft_target.")
@click.option("--output", type=click.Path(path_type=Path), required=True)
def main(student: str, param: str, curves: tuple[str, ...], output: Path) -> None:
    """Draw the curves that are named, one panel each."""
    runs = {row[param]: row["Experiment"] for row in dvc.api.exp_show() if row["Experiment"]}
    with context(["default", _STYLE]):
        figure = Figure(figsize=(3.6 * len(curves), 2.8), layout="constrained")
        panels = figure.subplots(1, len(curves), squeeze=False)[0]
        for panel, curve in zip(panels, curves, strict=True):
            for value in sorted(runs):
                points = _points(f"reports/curves/{student}/{curve}.tsv", runs[value])
                marker = "." if len(points) <= _FEW_POINTS else ""
                panel.plot(*zip(*points, strict=True), marker=marker, label=f"{value:g}")
            panel.set(title=f"{student}: {curve}", xlabel="step")
        panels[-1].legend(title=param.split(".")[-1], frameon=False)
        figure.savefig(output, format="svg", metadata=_NO_METADATA)


def _points(path: str, experiment: str) -> list[tuple[float, float]]:
    """Return (step, value), with neighbours averaged where there are many."""
    rows = csv.DictReader(io.StringIO(dvc.api.read(path, rev=experiment)), delimiter="\t")
    points = [(float(row["step"]), float(row[Path(path).stem])) for row in rows]
    n = -(-len(points) // _MOST_POINTS)
    groups = [points[start : start + n] for start in range(0, len(points), n)]
    return [(mean(x for x, _ in group), mean(y for _, y in group)) for group in groups]


if __name__ == "__main__":
    main()
