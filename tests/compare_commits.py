"""`python -m tests.compare_commits BASE FOLDER` compares what two states of the code compute.

For redesigns that must not change results. It runs small projects, the default one and one for each
kind of task, with the code of the commit BASE and with that of the working tree, stage by stage on
one thread, and compares digests of token tables, store arrays, students and exported logits, and
every figure in the metrics files but times.
Processors differ in the last bits, so both are run here. A key or an array that was renamed on
purpose stands in RENAMED, and is compared under its new name.
"""

import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
from ruamel.yaml import YAML

from tests.compared_projects import PROJECTS, ProjectName, make_project
from tests.imports import ROOT

RENAMED = {"clip_norm": "max_grad_norm", "warmup_share": "warmup_ratio", "n_beams": "num_beams"}
"""Old names by which BASE knows settings, columns, arrays and figures, and their new ones."""

_STAGE_ONE = ("prepare", "augment", "finetune", "generate", "capture")
_PER_STUDENT = ("select", "distill", "evaluate")
_NOT_COMPARED = re.compile(
    r"latency|throughput|seconds|peak_memory|n_threads|versions|digest|identity|stamp"
)
"""Keys of times and of what names the code or its inputs."""


@click.command()
@click.argument("base")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--project",
    "names",
    multiple=True,
    type=click.Choice(PROJECTS),
    help="Of the projects; all unless named.",
)
@click.option("--jobs", default=2, show_default=True, help="Projects that run at once.")
def main(base: str, folder: Path, names: Sequence[ProjectName], jobs: int) -> None:
    """Compare what BASE and the working tree compute, in FOLDER.

    What BASE computed is kept there, and not computed again by another run.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    commit = _git("rev-parse", f"{base}^{{commit}}")
    tree = folder / commit
    if not tree.exists():
        _git("worktree", "add", "--detach", str(tree), commit)
    with ThreadPoolExecutor(jobs) as pool:
        names = names or tuple(PROJECTS)
        found = list(pool.map(lambda name: _compare(name, tree, folder), names))
    n_equal = sum(n for n, _ in found)
    faults = [fault for _, of_project in found for fault in of_project]
    for fault in faults:
        click.echo(fault)
    click.echo(f"{n_equal} values are equal, {len(faults)} are not")
    raise SystemExit(bool(faults))


def _git(*arguments: str) -> str:
    done = subprocess.run(("git", *arguments), cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _compare(name: ProjectName, base: Path, folder: Path) -> tuple[int, list[str]]:
    """Run one project with both trees; return how many values are equal, and the faults."""
    kept = folder / f"{name}-{base.name}.json"
    if not kept.exists():
        before, params = _make(name, folder / f"{name}-before", RENAMED)
        kept.write_text(json.dumps(_results(before, base, params), indent=1), encoding="utf-8")
    now, params = _make(name, folder / f"{name}-now", {})
    new = _results(now, ROOT, params)
    old = {
        _with_new_names(key): value for key, value in json.loads(kept.read_text("utf-8")).items()
    }
    faults = [
        f"{name}: {key}: {old.get(key, 'missing')} before, {new.get(key, 'missing')} now"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    click.echo(f"{name}: {len(new)} values, {len(faults)} differ", err=True)
    return len(new) - len(faults), faults


def _make(
    name: ProjectName, folder: Path, renamed: Mapping[str, str]
) -> tuple[Path, dict[str, Any]]:
    """Make a project anew, its settings in the names from before they were renamed."""
    shutil.rmtree(folder, ignore_errors=True)
    params = make_project(name, folder)
    old_names = {new: old for old, new in renamed.items()}
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(_with_names(params, old_names), file)
    return folder, params


def _with_names(value: Any, names: Mapping[str, str]) -> Any:
    """Return settings with their keys in other names."""
    if isinstance(value, dict):
        return {names.get(key, key): _with_names(one, names) for key, one in value.items()}
    return value


def _with_new_names(key: str) -> str:
    """Return the name of a value with every renamed part of it."""
    return "/".join(RENAMED.get(part, part) for part in key.split("/"))


def _results(project: Path, tree: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Run every stage with a tree's code; return digests and figures by name."""
    students, exported = params["students"], params["export"]["students"]
    stages = [[stage] for stage in _STAGE_ONE]
    stages += [[stage, name] for stage in _PER_STUDENT for name in students]
    stages += [["export", name] for name in exported] + [["report"]]
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    for stage, *arguments in stages:
        command = (sys.executable, "-m", f"stages.{stage}", *arguments)
        done = subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{tree}: {' '.join(command[2:])}: {done.stdout}{done.stderr}")
    return dict(_values(project, students, exported))


def _values(
    project: Path, students: Sequence[str], exported: Sequence[str]
) -> Iterator[tuple[str, Any]]:
    artifacts = project / "artifacts"
    for path in sorted((artifacts / "tokens").glob("*.arrow")):
        yield from _columns(path, f"tokens/{path.stem}")
    yield from _tensors(artifacts / "teacher" / "model.safetensors", "teacher")
    yield from _arrays(artifacts / "teacher_store")
    for name in students:
        yield from _tensors(artifacts / "students" / name / "model.safetensors", f"student/{name}")
        for path in sorted((artifacts / "evaluations" / name).glob("*.arrow")):
            yield from _columns(path, f"predictions/{name}/{path.stem}")
        metrics = json.loads((project / f"reports/metrics/{name}.json").read_text("utf-8"))
        yield from _figures(metrics, f"metrics/{name}")
    for name in exported:
        yield from _exported_logits(project, name)


def _columns(path: Path, place: str) -> Iterator[tuple[str, str]]:
    """Yield the digest of each column of an Arrow file, by its values."""
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    for name in table.column_names:
        values = json.dumps(table[name].to_pylist(), default=bytes.hex)
        yield f"{place}/{name}", _digest(values.encode())


def _tensors(path: Path, place: str) -> Iterator[tuple[str, str]]:
    """Yield the digest of each tensor of a safetensors file, with its type and shape."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    for name, entry in json.loads(content[8:start]).items():
        if name != "__metadata__":
            first, end = entry["data_offsets"]
            value = content[start + first : start + end]
            yield f"{place}/{name}", f"{entry['dtype']} {entry['shape']} {_digest(value)}"


def _arrays(store: Path) -> Iterator[tuple[str, str]]:
    """Yield the digest of each chunk of each array of a store, and of its row tables."""
    for path in sorted(store.rglob("*")):
        if path.is_dir() or store / "teacher" in path.parents:
            continue
        place = path.relative_to(store).as_posix()
        if path.suffix == ".arrow":
            yield from _columns(path, f"store/{place}")
        elif path.name not in ("manifest.json", "zarr.json"):
            yield f"store/{place}", _digest(path.read_bytes())


def _figures(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield every figure and word of a metrics file but times and digests."""
    if isinstance(value, dict):
        for key, one in value.items():
            if not _NOT_COMPARED.search(key):
                yield from _figures(one, f"{place}/{key}")
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _figures(one, f"{place}/{number}")
    else:
        yield place, "nan" if isinstance(value, float) and math.isnan(value) else value


def _exported_logits(project: Path, name: str) -> Iterator[tuple[str, str]]:
    """Yield the digest of what an ONNX file gives for fixed token ids."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # A file of int8 is written where it is faster, which is measured anew each time.
    for path in sorted((project / "artifacts").glob(f"exports/{name}/*[!8].onnx")):
        session = onnxruntime.InferenceSession(path, options)
        ids = np.arange(4, 28, dtype=np.int64).reshape(2, 12)
        given = {
            one.name: ids if one.name == "input_ids" else np.ones_like(ids)
            for one in session.get_inputs()
        }
        for output, values in zip(session.get_outputs(), session.run(None, given), strict=True):
            yield f"exported/{name}/{path.name}/{output.name}", _digest(values.tobytes())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


if __name__ == "__main__":
    main()
