"""The default run over several seeds: test accuracy of each student, and what a stage costs.

Each seed has a project of its own with this repository's params.yaml. There the seed decides
which training sentences keep their label (`data.docstrings.seed`), the head and the order of the
teacher's training (`teacher.seed`), and the weights, dropout and order of the students'
(`training.seed`); texts and test set are the same. The stages are those of dvc.yaml, run one
after the other. A stage that has run in a folder is not run again, so a stopped run goes on.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import click
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
_STAGE_ONE = ("prepare", "augment", "finetune", "generate", "capture")
_OF_STUDENTS = ("select", "distill", "evaluate")
_DONE = "cpu_seconds.json"


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--seed", "seeds", type=int, multiple=True, default=range(5), show_default=True)
@click.option("--student", "names", multiple=True, help="Of params.yaml; all unless named.")
def main(folder: Path, seeds: Sequence[int], names: Sequence[str]) -> None:
    """Run the default project with each seed in FOLDER and print the tables."""
    params = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    names = names or tuple(params["students"])
    accuracies, seconds = {}, {}
    for seed in seeds:
        project = folder / f"seed-{seed}"
        _write_params(project, params, seed)
        seconds[seed] = _run(project, names)
        accuracies[seed] = _accuracies(project, names)
    _print_accuracies(accuracies)
    _print_gains(accuracies, params["students"], names)
    _print_seconds(seconds)


def _write_params(project: Path, params: dict[str, Any], seed: int) -> None:
    params["data"]["docstrings"]["seed"] = seed
    params["teacher"]["seed"] = seed
    params["training"]["seed"] = seed
    (project / params["data"]["path"]).mkdir(parents=True, exist_ok=True)
    with (project / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(params, file)


def _run(project: Path, names: Sequence[str]) -> dict[str, float]:
    """Run what has not run yet; return the CPU seconds of each stage, such as `distill@kd-3`."""
    wanted = [*_STAGE_ONE, *(f"{stage}@{name}" for name in names for stage in _OF_STUDENTS)]
    path = project / _DONE
    done: dict[str, float] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for stage in wanted:
        if stage in done:
            continue
        print(f"{project.name}: {stage}", file=sys.stderr, flush=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        module, _, student = stage.partition("@")
        command = [sys.executable, "-m", f"stages.{module}", *([student] if student else [])]
        subprocess.run(command, cwd=project, env=environment, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        done[stage] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        path.write_text(json.dumps(done, indent=1), encoding="utf-8")
    return done


def _accuracies(project: Path, names: Sequence[str]) -> dict[str, float]:
    """Return test accuracies in percent, the teacher's and the students'."""
    found = {}
    for name in names:
        metrics = json.loads((project / f"reports/metrics/{name}.json").read_text("utf-8"))
        test = metrics["splits"]["test"]
        found["teacher"] = 100 * test["teacher"]["accuracy"]
        found[name] = 100 * test["student"]["accuracy"]
    return found


def _print_accuracies(accuracies: Mapping[int, Mapping[str, float]]) -> None:
    models = list(next(iter(accuracies.values())))
    print("\n| test accuracy |", *(f"seed {seed} |" for seed in accuracies), "mean | sd |")
    print("|---|" + "---|" * (len(accuracies) + 2))
    for model in models:
        values = [of_seed[model] for of_seed in accuracies.values()]
        cells = [*values, mean(values), stdev(values) if len(values) > 1 else 0.0]
        print(f"| {model} |", *(f"{value:.1f} |" for value in cells))


def _print_gains(
    accuracies: Mapping[int, Mapping[str, float]],
    students: Mapping[str, Any],
    names: Sequence[str],
) -> None:
    """Print what distilled students are above the same model of labels alone."""
    print()
    for alone in names:
        if list(students[alone]["objectives"]) != ["hard_label"]:
            continue
        for name in names:
            if name != alone and students[name]["model"] == students[alone]["model"]:
                gains = [of_seed[name] - of_seed[alone] for of_seed in accuracies.values()]
                print(
                    f"{name} above {alone}: {mean(gains):.1f} points in the mean, "
                    f"{min(gains):.1f} to {max(gains):.1f}"
                )


def _print_seconds(seconds: Mapping[int, Mapping[str, float]]) -> None:
    print("\n| stage | CPU seconds, median of seeds |\n|---|---|")
    stages = list(next(iter(seconds.values())))
    for stage in stages:
        print(f"| `{stage}` | {median(done[stage] for done in seconds.values()):.0f} |")


if __name__ == "__main__":
    main()
