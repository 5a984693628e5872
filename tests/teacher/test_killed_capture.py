"""A capture that is killed, at any moment, loses what was not committed and nothing else."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.core.fingerprint import digest_folder
from pipeline.store.lock import LOCK_NAME
from pipeline.store.manifest import MANIFEST_NAME, read_manifest
from pipeline.store.reader import open_store
from pipeline.store.row_table import read_row_table
from tests.conftest import make_sentences, make_tokens, write_csv

N_KILLS = 30
N_ROWS = 22
SEGMENT_ROWS = 12


class Captures:
    """The program of `killable_capture`, and where its captures note what they compute."""

    def __init__(self, program: "subprocess.Popen[str]", folder: Path) -> None:
        self.program = program
        self.log = folder / "log"
        self.n_operations = 0
        self.seconds = 0.0

    def start(
        self,
        store: Path,
        layers: list[int],
        kill_at: int | None = None,
        segment_rows: int = SEGMENT_ROWS,
    ) -> int:
        """Begin a capture; return its process."""
        self.log.unlink(missing_ok=True)
        job = {
            "store": str(store),
            "layers": layers,
            "segment_rows": segment_rows,
            "kill_at": kill_at,
            "log": str(self.log),
        }
        assert self.program.stdin is not None
        self.program.stdin.write(json.dumps(job) + "\n")
        self.program.stdin.flush()
        return int(self._answer())

    def wait(self) -> int:
        """Return the signal that ended the capture, 0 when it came to its end."""
        ended_by = int(self._answer())
        if not ended_by:
            n_operations, seconds = Path(f"{self.log}.cost").read_text().split()
            self.n_operations, self.seconds = int(n_operations), float(seconds)
        return ended_by

    def _answer(self) -> str:
        assert self.program.stdout is not None
        answer = self.program.stdout.readline()
        assert answer, (self.log.parent / "stderr").read_text()
        return answer

    def seen(self) -> list[str]:
        """Return the key of every row that the last capture computed."""
        return self.log.read_text().split() if self.log.exists() else []


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Iterator[Captures]:
    """A table of 22 rows, in two segments, to be captured."""
    folder = tmp_path_factory.mktemp("killed")
    rows = list(dict(make_sentences(40)).items())[:N_ROWS]
    write_csv(folder / "data" / "train.csv", rows[:14])
    write_csv(folder / "data" / "validation.csv", rows[14:])
    make_tokens(folder / "tokens", checkpoint, folder / "data")
    command = [sys.executable, "-m", "tests.teacher.killable_capture"]
    with (
        (folder / "stderr").open("w") as stderr,
        subprocess.Popen(
            [*command, str(checkpoint), str(folder / "tokens")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        ) as program,
    ):
        yield Captures(program, folder)
        program.kill()


@pytest.fixture(scope="module")
def whole_store(tmp_path_factory: pytest.TempPathFactory, captures: Captures) -> Path:
    """A store that was captured without interruption; not to be changed."""
    store = tmp_path_factory.mktemp("whole") / "store"
    captures.start(store, [2])
    assert captures.wait() == 0
    assert len(captures.seen()) == len(open_store(store)) == N_ROWS
    return store


def cpu_seconds(process: int) -> float:
    """Return what a process has computed so far: the clock's time tells more of other processes."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def contents(store: Path) -> dict[str, str]:
    return digest_folder(store, without=[LOCK_NAME])


def committed(store: Path, array: str) -> set[str]:
    """Return the keys of the rows that have this array."""
    if not (store / MANIFEST_NAME).exists():
        return set()
    segments = [part for part in read_manifest(store).segments if array in part.arrays]
    tables = [read_row_table(store, segment) for segment in segments]
    return {key.tobytes().hex() for table in tables for key in table.keys}


def check_rerun(
    captures: Captures,
    store: Path,
    layers: list[int],
    wanted: Path,
    segment_rows: int = SEGMENT_ROWS,
) -> set[str]:
    """Run the capture again to its end; return what had been committed before."""
    array = f"attentions/{layers[-1]:02d}"
    kept = committed(store, array)
    captures.start(store, layers, segment_rows=segment_rows)
    assert captures.wait() == 0
    seen = captures.seen()
    assert len(set(seen)) == len(seen) == N_ROWS - len(kept)
    assert not kept & set(seen), "a committed row was computed again"
    assert contents(store) == contents(wanted)
    return kept


def test_a_capture_is_killed_at_random_moments(captures: Captures, tmp_path: Path) -> None:
    """Catches a moment at which a kill tears the store, loses work, or leaves a lock behind."""
    wanted, rows = tmp_path / "wanted", 6  # four segments
    captures.start(wanted, [2], segment_rows=rows)
    assert captures.wait() == 0
    moments = random.Random(0)
    n_killed, n_kept = 0, []
    for number in range(N_KILLS):
        store = tmp_path / f"store{number}"
        process = captures.start(store, [2], segment_rows=rows)
        moment = moments.uniform(0, captures.seconds)
        with suppress(FileNotFoundError, ProcessLookupError):  # it was quicker than the first one
            while cpu_seconds(process) < moment:
                time.sleep(0.001)
            os.kill(process, signal.SIGKILL)
        n_killed += captures.wait() == signal.SIGKILL
        n_kept.append(len(check_rerun(captures, store, [2], wanted, rows)))
        shutil.rmtree(store)
    assert n_killed > N_KILLS / 2, "most captures were still running when they were killed"
    assert len(set(n_kept)) > 1, "some kills came before the first commit and some after"


def test_a_capture_is_killed_at_every_step_of_its_commits(
    captures: Captures, whole_store: Path, tmp_path: Path
) -> None:
    """Catches an order of renames in which one of them must not be the last."""
    store, wanted = tmp_path / "store", tmp_path / "wanted"
    captures.start(wanted, [2])
    assert captures.wait() == 0
    n_operations = captures.n_operations
    assert n_operations > 2 * 6
    n_kept = set()
    for kill_at in range(n_operations):
        captures.start(store, [2], kill_at)
        assert captures.wait() == signal.SIGKILL
        n_kept.add(len(check_rerun(captures, store, [2], whole_store)))
        shutil.rmtree(store)
    assert n_kept == {0, 12}


def test_an_added_layer_is_killed_at_every_step_of_its_commits(
    captures: Captures, whole_store: Path, tmp_path: Path
) -> None:
    """Catches a layer that counts as captured before it is, or a store it damages."""
    store, wanted = tmp_path / "store", tmp_path / "wanted"
    shutil.copytree(whole_store, wanted)
    captures.start(wanted, [2, 3])
    assert captures.wait() == 0
    n_operations = captures.n_operations
    assert n_operations > 2 * 2
    n_kept = set()
    for kill_at in range(n_operations):
        shutil.copytree(whole_store, store)
        before = committed(store, "attentions/02")
        captures.start(store, [2, 3], kill_at)
        assert captures.wait() == signal.SIGKILL
        assert committed(store, "attentions/02") == before
        n_kept.add(len(check_rerun(captures, store, [2, 3], wanted)))
        shutil.rmtree(store)
    assert n_kept == {0, 12}
