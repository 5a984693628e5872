"""Capture in several processes, as torchrun starts them and as params.yaml asks for them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pipeline.core.errors import StoreIncompleteError
from pipeline.core.fingerprint import digest_folder
from pipeline.store.files import FINISHED_FOLDER
from pipeline.store.lock import LOCK_NAME
from pipeline.store.manifest import read_manifest
from pipeline.store.reader import TeacherStore, open_store
from tests.forking import commands
from tests.imports import ROOT
from tests.small_project import PARAMS, change, make_project, write_params
from tests.stages.conftest import invoke

STORE = Path("artifacts") / "teacher_store"
# 140 rows in 70 segments: many commits, and time to come between them.
N_SEGMENTS, SEGMENT_ROWS = 70, 2
FEW_ROWS = change(PARAMS, "capture.segment_rows", SEGMENT_ROWS)


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project captured by one process; not to be changed."""
    folder = make_project(tmp_path_factory.mktemp("captured") / "project")
    write_params(folder, FEW_ROWS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("prepare", "augment", "finetune", "capture"):
            assert invoke(name).exit_code == 0
    return folder


@pytest.fixture
def project(captured: Path, tmp_path: Path) -> Path:
    """A copy of the project without its store."""
    folder = tmp_path / "project"
    shutil.copytree(captured, folder, ignore=shutil.ignore_patterns(STORE.name))
    return folder


def torchrun(project: Path, n_processes: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    arguments = [f"--nproc-per-node={n_processes}", "-m", "stages.capture"]
    return subprocess.Popen(
        [*command, *arguments],
        cwd=project,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "PYTHON_EXEC": str(commands() / "python"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def check_equal(found: TeacherStore, wanted: TeacherStore) -> None:
    """Check that two stores hold the same rows, in the same order, with the same values."""
    assert found.keys.tobytes() == wanted.keys.tobytes()
    assert len(found) == 140
    rows = range(len(found))
    for name in ("logits", "cls"):
        values = getattr(found, name)(rows), getattr(wanted, name)(rows)
        torch.testing.assert_close(*values, rtol=0, atol=1e-5)
    maps = found.attentions(rows, 2), wanted.attentions(rows, 2)
    torch.testing.assert_close(*maps, rtol=0, atol=2.0**-11 + 1e-5)  # stored as float16
    shifted = wanted.logits(rows).roll(1, 0)
    assert float((found.logits(rows) - shifted).abs().max()) > 1e-3


def test_two_processes_give_the_store_of_one(captured: Path, project: Path) -> None:
    """Catches rows that both processes take, or none, and segments that nobody commits."""
    with torchrun(project, 2) as processes:
        output, _ = processes.communicate(timeout=300)
    assert processes.returncode == 0, output
    assert "capture (1 of 2)" in output and "capture (2 of 2)" in output
    assert output.count("rows computed") == 1, "one process speaks for all"
    check_equal(open_store(project / STORE), open_store(captured / STORE))
    names = [segment.name for segment in read_manifest(project / STORE).segments]
    assert names == [f"{number:05d}" for number in range(N_SEGMENTS)]
    assert not list((project / STORE / FINISHED_FOLDER).iterdir())
    assert (project / STORE / LOCK_NAME).read_bytes() == b""


def process_of(rank: int, launcher: int) -> int:
    """Return the process that torchrun gave this rank."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    for child in children:
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    raise AssertionError(f"no process of rank {rank} among {children}")


def committed(store_dir: Path) -> set[str]:
    try:
        return {segment.name for segment in read_manifest(store_dir).segments}
    except StoreIncompleteError:
        return set()


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_loses_its_own_segment_only(
    captured: Path, project: Path, killed: int
) -> None:
    """Catches work of the others that is lost with it, and ranks that a rerun must repeat."""
    with torchrun(project, 2) as processes:
        deadline = time.monotonic() + 240
        while len(committed(project / STORE)) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process_of(killed, processes.pid), signal.SIGKILL)
        output, _ = processes.communicate(timeout=120)
    assert processes.returncode != 0, output
    finished = {path.stem for path in (project / STORE / FINISHED_FOLDER).glob("*.json")}
    kept = committed(project / STORE) | finished  # one may be both, between the two
    assert 4 <= len(kept) < N_SEGMENTS, "the kill came in the middle"

    write_params(project, change(FEW_ROWS, "runtime.processes", 3))  # another number of them
    again = subprocess.run(
        [str(commands() / "python"), "-m", "stages.capture"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    n_present = SEGMENT_ROWS * len(kept)
    assert f"{140 - n_present} rows computed, {n_present} already present" in again.stdout
    check_equal(open_store(project / STORE), open_store(captured / STORE))
    single = digest_folder(captured / STORE, without=[LOCK_NAME])
    assert digest_folder(project / STORE, without=[LOCK_NAME]).keys() == single.keys()


def test_an_error_in_the_processes_is_one_line(project: Path) -> None:
    """Catches a page of tracebacks from every process for a fault of the user's."""
    write_params(project, change(FEW_ROWS, "runtime.processes", 2))
    shutil.rmtree(project / "artifacts" / "teacher")
    failed = subprocess.run(
        [str(commands() / "python"), "-m", "stages.capture"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert any(line.startswith("capture: ") for line in failed.stderr.splitlines())


def test_force_reaches_every_process(project: Path) -> None:
    """Catches a forced capture whose processes each find that there is nothing to do."""
    write_params(project, change(FEW_ROWS, "runtime.processes", 2))
    printed = [
        subprocess.run(
            [str(commands() / "python"), "-m", "stages.capture", *options],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        ).stdout
        for options in ((), (), ("--force",))
    ]
    assert "140 rows computed, 0 already present" in printed[0]
    assert "nothing was computed" in printed[1]
    assert "140 rows computed, 0 already present" in printed[2]
