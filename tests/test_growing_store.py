"""A store that grows under real DVC: what is computed, what changes on disk, what is pushed.

The tests share one project and run in order.
"""

import os
import re
import shutil
from pathlib import Path

import pytest

from pipeline.core.fingerprint import digest_folder
from pipeline.store.lock import LOCK_NAME
from pipeline.store.manifest import MANIFEST_NAME
from pipeline.store.reader import open_store
from tests.conftest import make_sentences, write_csv
from tests.dvc_project import DvcProject, make_dvc_project

pytestmark = pytest.mark.timeout(1200)

N_NEW_ROWS = 7  # 5% of 140


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    """A captured store, hard-linked into DVC's cache and pushed; its teacher is kept."""
    folder = tmp_path_factory.mktemp("growing")
    project = make_dvc_project(folder / "project")
    project.run("dvc", "config", "cache.type", "hardlink")
    project.run("dvc", "remote", "add", "--default", "shared", str(folder / "remote"))
    assert set(project.repro("capture")) == {
        "prepare",
        "augment",
        "finetune",
        "generate",
        "capture",
    }
    project.run("dvc", "push")
    project.run("dvc", "freeze", "finetune")
    return project


def store_of(project: DvcProject) -> Path:
    return project.folder / "artifacts" / "teacher_store"


def remote_objects(project: DvcProject) -> set[str]:
    folder = project.folder.parent / "remote"
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def new_store_objects(project: DvcProject) -> tuple[int, int]:
    """Push; return how many files, and how many lists of a folder's files, arrived."""
    before = remote_objects(project)
    project.run("dvc", "push", "capture")
    new = remote_objects(project) - before
    return sum(not name.endswith(".dir") for name in new), sum(n.endswith(".dir") for n in new)


def new_contents(project: DvcProject, before: dict[str, str]) -> int:
    """Return how many files of other content than before there are; DVC keeps each once."""
    after = digest_folder(store_of(project), without=[LOCK_NAME])
    return len(set(after.values()) - set(before.values()))


def check_growth(project: DvcProject, before: dict[str, str]) -> set[str]:
    """Check that no older file was touched; return the files that are new."""
    after = digest_folder(store_of(project), without=[LOCK_NAME])
    assert {name for name in before if after[name] != before[name]} == {MANIFEST_NAME}
    return set(after) - set(before)


def test_growth_costs_what_is_new(project: DvcProject) -> None:
    """Catches teacher compute that is repeated, older files that change, and needless uploads."""
    store = store_of(project)
    chunk = store / "attentions" / "02" / "00000" / "c" / "0"
    assert (chunk.stat().st_nlink > 1 and not os.access(chunk, os.W_OK)) or os.getuid() == 0
    assert chunk.stat().st_nlink > 1, "DVC has linked the file into its cache"
    n_rows = len(open_store(store))
    assert project.rows_forwarded("stages.capture") == n_rows
    before = digest_folder(store, without=[LOCK_NAME])
    cache = digest_folder(project.folder / ".dvc" / "cache")

    more = [row for row in make_sentences(40, seed=9) if len(row[0].split()) > 6][:N_NEW_ROWS]
    rows = make_sentences(90, 0)
    (project.folder / "data" / "train.csv").unlink()
    write_csv(project.folder / "data" / "train.csv", [*more, *rows])
    ran = project.repro("capture")
    assert (ran[0], sorted(ran[1:-1]), ran[-1]) == ("prepare", ["augment", "generate"], "capture")
    assert project.rows_forwarded("stages.capture") == N_NEW_ROWS
    assert len(open_store(store)) == n_rows + N_NEW_ROWS
    new = check_growth(project, before)
    # A row table, and two files for each of logits, cls, its moments and one attention layer.
    assert len(new) == 1 + 2 * 4
    files, folders = new_store_objects(project)
    assert 6 < files == new_contents(project, before) <= len(new) + 1, "and the manifest"
    assert folders == 4, "rows, logits, cls, attentions"

    before = digest_folder(store, without=[LOCK_NAME])
    project.change("capture.signals.attentions.layers", [1, 2, 3])
    assert project.repro("capture") == ["capture"]
    assert project.rows_forwarded("stages.capture") == n_rows + N_NEW_ROWS
    new = check_growth(project, before)
    n_segments = len(open_store(store).manifest.segments)
    assert n_segments == 5
    groups = {f"attentions/{layer}/zarr.json" for layer in ("01", "03")}
    assert groups < new and len(new) == len(groups) + 2 * 2 * n_segments
    files, folders = new_store_objects(project)
    assert n_segments < files == new_contents(project, before) and folders == 1
    unchanged = digest_folder(project.folder / ".dvc" / "cache")
    assert {name: unchanged[name] for name in cache} == cache, "nothing was written through a link"


def test_a_capture_that_is_rerun_for_nothing_computes_nothing(project: DvcProject) -> None:
    """Catches settings that are dropped and take signals with them, or cost a forward."""
    before = digest_folder(store_of(project), without=[LOCK_NAME])
    path = project.folder / "pipeline" / "teacher" / "extract.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n# a comment\n", encoding="utf-8")
    project.change("students", {"hard-2": project.params["students"]["hard-2"]})
    project.change("capture.signals", {"logits": {}})
    # The comment lies in a package of both; generate is off.
    assert project.repro("capture") == ["generate", "capture"]
    assert project.rows_forwarded("stages.capture") == 0
    assert digest_folder(store_of(project), without=[LOCK_NAME]) == before
    assert re.search(r"up to date", project.run("dvc", "status", "capture"))
    shutil.rmtree(store_of(project) / "cls")
    assert "cls" in project.run("dvc", "checkout", "capture")
    assert digest_folder(store_of(project), without=[LOCK_NAME]) == before
