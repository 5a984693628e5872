"""A store that travels between teams, with real git and DVC in temporary folders.

Team A captures, sends the store to a remote and goes away with its teacher: what is left is
a bare git repository with two versions, and the remote. The second version has more rows,
and carries the teacher's weights. A teacher has four layers, students have two.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.fingerprint import digest_folder
from pipeline.store.reader import open_store
from tests.conftest import make_sentences, write_csv
from tests.dvc_project import DvcProject, make_dvc_project
from tests.imports import ROOT

pytestmark = pytest.mark.timeout(1800)

TEACHER_LAYERS, N_NEW_ROWS = 4, 7
KD: dict[str, Any] = {
    "model": {"n_layers": 2, "warm_start": "none"},
    "objectives": {"soft_target": {}, "attentions": {"layer_map": [[1, 2]]}},
}
SETTINGS: dict[str, Any] = {
    "capture": {
        "segment_rows": 40,
        "warm_start": False,
        "signals": {"attentions": {"layers": [1, 2]}},
    },
    "training": {"epochs": 1, "batch_size": 16},
    "students": {"kd-2": KD},
}
STORE, TOKENS = "artifacts/teacher_store", "artifacts/tokens"
NOT_SHARED = (".lock", ".gitignore")


@dataclass(frozen=True)
class Shared:
    """What is left of team A."""

    repository: Path
    """Bare, with the tags v1 and v2."""
    remote: Path
    stores: dict[str, Path]
    """The store of each version, for comparison."""
    rows: list[tuple[str, str]]
    """The training rows of v2."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """The repository and the remote of a team whose teacher nobody can reach any more."""
    folder = tmp_path_factory.mktemp("shared")
    team = make_dvc_project(folder / "a" / "project", **SETTINGS)
    team.run("dvc", "remote", "add", "--default", "shared", str(folder / "remote"))
    stores = {}
    rows = make_sentences(90, 0)
    for version in ("v1", "v2"):
        if version == "v2":
            long = [row for row in make_sentences(60, seed=9) if len(row[0].split()) > 6]
            rows = [*long[:N_NEW_ROWS], *rows]
            write_csv(team.folder / "data" / "train.csv", rows)
            team.change("capture.warm_start", True)
            team.run("dvc", "freeze", "finetune")
        team.repro("capture")
        team.run("dvc", "unfreeze", "finetune")
        team.run("python", "-m", "stages.push")
        team.commit(version)
        team.run("git", "tag", version)
        stores[version] = shutil.copytree(team.folder / STORE, folder / version)
    team.run("git", "clone", "--quiet", "--bare", ".", str(folder / "team.git"))
    teacher = (team.folder / "artifacts" / "teacher" / "model.safetensors").read_bytes()
    shutil.rmtree(folder / "a")
    md5 = hashlib.md5(teacher, usedforsecurity=False).hexdigest()
    sent = [path.name for path in folder.joinpath("remote").rglob(f"{md5[2:]}*")]
    assert sent == [md5[2:]], "of v2's store, which carries the weights"
    return Shared(folder / "team.git", folder / "remote", stores, rows)


def clone(shared: Shared, folder: Path, version: str) -> DvcProject:
    """Clone team A's repository."""
    (folder / "project").mkdir(parents=True)
    project = DvcProject(folder / "project")
    project.run("git", "clone", "--quiet", "--branch", version, str(shared.repository), ".")
    project.params = {**project.params, **SETTINGS}
    if version == "v2":
        project.change("capture.warm_start", True)
    return project


def other_project(shared: Shared, folder: Path, version: str, **settings: object) -> DvcProject:
    """Make another team's repository, with an import of the store and no teacher anywhere."""
    given = {
        **SETTINGS,
        "teacher": {"store": "imported/teacher_store"},
        "tokenizer": {"checkpoint": "imported/teacher_store/teacher", "max_length": 64},
        **settings,
    }
    project = make_dvc_project(folder / "project", **given)
    shutil.rmtree(project.folder / "base")
    (project.folder / "imported").mkdir()
    run_import(project, shared, version, STORE, "imported/teacher_store")
    return project


def run_import(project: DvcProject, shared: Shared, version: str, path: str, out: str) -> None:
    """Import a folder of team A's repository."""
    source = str(shared.repository)
    project.run("dvc", "import", "--quiet", "--rev", version, source, path, "--out", out)


def md5s(folder: Path, *names: str) -> dict[str, int]:
    """Return the size of every file below `folder`, in these parts of it, by its MD5."""
    paths = [path for name in names for path in [folder / name, *(folder / name).rglob("*")]]
    files = [path for path in paths if path.is_file() and path.name not in NOT_SHARED]
    contents = [path.read_bytes() for path in files]
    return {hashlib.md5(data, usedforsecurity=False).hexdigest(): len(data) for data in contents}


def cached(project: DvcProject) -> dict[str, int]:
    """Return the size of every file in DVC's cache by its MD5, but for lists of folders."""
    cache = project.folder / ".dvc" / "cache" / "files" / "md5"
    paths = [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".dir"]
    return {path.parent.name + path.name: path.stat().st_size for path in paths}


def test_a_clone_trains_without_the_teacher(shared: Shared, tmp_path: Path) -> None:
    """Catches a plain `dvc repro` that starts the teacher's stages in somebody else's clone."""
    project = clone(shared, tmp_path, "v1")
    for command in readme_commands("dvc remove finetune"):
        project.run(*command.split())
    ran = project.repro()
    assert ran == ["select@kd-2", "distill@kd-2", "evaluate@kd-2", "report"]
    project.change("students.kd-2.objectives.soft_target", {"temperature": 3.0})
    assert project.repro("distill@kd-2") == ["select@kd-2", "distill@kd-2"]
    assert set(project.counts("step")) == {"kd-2"}
    assert project.rows_forwarded_by(TEACHER_LAYERS) == 0 < project.rows_forwarded_by(2)
    assert not (project.folder / "artifacts" / "teacher").exists()
    store = digest_folder(project.folder / STORE, without=NOT_SHARED)
    assert store == digest_folder(shared.stores["v1"], without=NOT_SHARED)


def readme_commands(first: str) -> list[str]:
    """Return the lines of the README's block of commands that begins so."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = text[text.index(f"\n{first}") :].split("```")[0].strip().splitlines()
    return [line.partition(" #")[0] for line in lines if line != "dvc repro"]


def test_an_import_is_trained_on_and_updated(shared: Shared, tmp_path: Path) -> None:
    """Catches teacher compute for rows that came with an import, an import that is written to,
    and an update that downloads again what is there."""
    data = {"source": "tokens", "path": "imported/tokens"}
    project = other_project(shared, tmp_path, "v1", data=data)
    run_import(project, shared, "v1", TOKENS, "imported/tokens")
    imported = project.folder / "imported" / "teacher_store"
    before = digest_folder(imported)
    ran = project.repro("distill@kd-2")
    assert ran[0] == "prepare" and ran[-1] == "distill@kd-2" and "capture" in ran
    assert project.rows_forwarded_by(TEACHER_LAYERS) == 0 < project.rows_forwarded_by(2)
    assert digest_folder(imported) == before
    assert len(open_store(project.folder / STORE)) == len(open_store(shared.stores["v1"]))

    there = cached(project)
    remote = shared.remote / "files" / "md5"
    hidden = [remote / md5[:2] / md5[2:] for md5 in there]
    hidden = [path for path in hidden if path.exists()]
    assert len(hidden) > 20
    for path in hidden:  # so that nothing of the first version can be transferred again
        path.rename(path.with_suffix(".hidden"))
    try:
        for name in ("tokens", "teacher_store"):
            project.run("dvc", "update", "--rev", "v2", f"imported/{name}.dvc")
    finally:
        for path in hidden:
            path.with_suffix(".hidden").rename(path)
    wanted = md5s(shared.stores["v2"], ".")
    came = {md5: size for md5, size in cached(project).items() if md5 not in there}
    tokens = md5s(project.folder / "imported" / "tokens", ".")
    new = {md5: size for md5, size in {**wanted, **tokens}.items() if md5 not in there}
    assert came == new and sum(came.values()) > 0
    before = digest_folder(imported)
    assert "capture" in project.repro("capture")
    assert project.rows_forwarded_by(TEACHER_LAYERS) == 0
    assert len(open_store(project.folder / STORE)) == len(open_store(shared.stores["v2"]))
    assert digest_folder(imported) == before


def test_own_data_are_joined_by_key(shared: Shared, tmp_path: Path) -> None:
    """Catches a join that computes rows that are there, or writes into what was imported."""
    project = other_project(shared, tmp_path, "v2")
    own = [row for row in make_sentences(60, seed=77) if len(row[0].split()) > 8][:5]
    write_csv(project.folder / "data" / "train.csv", [*shared.rows[20:50], *own])
    imported = project.folder / "imported" / "teacher_store"
    before = digest_folder(imported)
    project.repro("augment")
    report = project.run("python", "-m", "stages.coverage", "--json")
    coverage = json.loads(report[report.index("{") :])
    assert coverage["splits"]["train"] == {"n_rows": 35, "n_found": 30}
    assert coverage["n_distinct_missing"] == 5
    project.repro("capture")
    assert project.rows_forwarded_by(TEACHER_LAYERS) == project.rows_forwarded("stages.capture")
    assert project.rows_forwarded("stages.capture") == 5
    assert len(open_store(project.folder / STORE)) == len(open_store(shared.stores["v2"])) + 5
    assert digest_folder(imported) == before


def test_a_part_is_fetched_and_trained_on(shared: Shared, tmp_path: Path) -> None:
    """Catches files that are downloaded and not read, and a part that is not enough."""
    project = clone(shared, tmp_path, "v2")
    project.run("python", "-m", "stages.fetch", "--signal", "logits")
    store, v2 = project.folder / STORE, shared.stores["v2"]
    always = ("manifest.json", "zarr.json", "rows", "teacher/config.json")
    always += ("teacher/tokenizer.json", "teacher/tokenizer_config.json")
    wanted = md5s(v2, *always, "logits")
    assert cached(project) == wanted
    assert open_store(store).logits(range(5)).shape == (5, 2)

    layers = {"objectives": {"attentions": {"layer_map": [[1, 2]]}}, "model": KD["model"]}
    project.change("students", {"maps-2": layers})
    project.run("python", "-m", "stages.fetch", "--for", "maps-2")
    came = {md5: size for md5, size in cached(project).items() if md5 not in wanted}
    parts = ("attentions/02", "attentions/zarr.json")
    tokens = md5s(project.folder / "artifacts", "tokens", "augmented", "generated")
    expected = {**md5s(v2, *parts), **tokens}
    assert came == {md5: size for md5, size in expected.items() if md5 not in wanted}
    assert not (store / "cls").exists() and not (store / "attentions" / "01").exists()
    assert not (store / "teacher" / "model.safetensors").exists()
    assert "is partial, and what is here is whole" in project.run("python", "-m", "stages.verify")

    ran = project.repro("--downstream", "select@maps-2")
    assert ran == ["select@maps-2", "distill@maps-2", "evaluate@maps-2", "report"]
    assert project.rows_forwarded_by(TEACHER_LAYERS) == 0 < project.rows_forwarded_by(2)
    project.change("students.maps-2.objectives.attentions.layer_map", [[1, 1]])
    output = project.fail("dvc", "repro", "--downstream", "select@maps-2")
    n_segments = len(open_store(v2).manifest.segments)
    assert (
        "distill: artifacts/teacher_store is partial: 'attentions/01' was captured, but is not "
        f"here for {n_segments} of {n_segments} segments. Run 'decant fetch "
        "artifacts/teacher_store --signal attentions/01' to bring it."
    ) in " ".join(output.split())
