"""A capture that begins with somebody else's store, which it must only read."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.core.errors import (
    CheckpointError,
    PipelineError,
    StoreDamagedError,
    StoreIncompleteError,
    StoreMismatchError,
)
from pipeline.core.fingerprint import digest_folder
from pipeline.core.processes import Processes
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array
from pipeline.store.lock import LOCK_NAME
from pipeline.store.reader import open_store
from pipeline.store_tools.coverage import cover, describe_coverage
from pipeline.store_tools.verify import verify_store
from pipeline.tasks import TASKS
from pipeline.teacher.capture import CaptureReport, capture
from pipeline.teacher.capture_settings import CaptureSettings
from pipeline.teacher.stored_teacher import take_teacher
from pipeline.text.tokens import Tokens
from tests.conftest import capture_store, make_checkpoint, make_sentences, make_tokens, write_csv
from tests.store.altered import replace_file

TASK = TASKS["classification"]
N_OWN = 5


@pytest.fixture
def theirs(make_store: Callable[..., Path]) -> Path:
    """A store without its teacher's weights, with attention maps of layers 2 and 4."""
    return make_store("theirs", warm_start=False)


@pytest.fixture(scope="module")
def own_tokens(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Tokens:
    """A token table of 20 rows that the store has, in another order, and some that it lacks."""
    folder = tmp_path_factory.mktemp("own")
    rows = make_sentences(90, 0)[10:30][::-1]
    new = [row for row in make_sentences(60, seed=77) if len(row[0].split()) > 8][:N_OWN]
    write_csv(folder / "data" / "train.csv", [*rows, *new])
    write_csv(folder / "data" / "validation.csv", make_sentences(30, 1))
    return make_tokens(folder / "work" / "tokens", checkpoint, folder / "data")


def take(store: Path, tokens: Tokens, teacher: Path, checkpoint: Path | None = None) -> Path:
    take_teacher(store, checkpoint, tokens, TASK, teacher, inputs={"a": "b"})
    return teacher


def run(
    teacher: Path, tokens: Tokens, mine: Path, layers: tuple[int, ...] = (2, 4)
) -> CaptureReport:
    settings = CaptureSettings.model_validate({"signals": {"attentions": {"layers": layers}}})
    return capture(
        teacher,
        tokens,
        TASK,
        settings,
        mine,
        device=torch.device("cpu"),
        batch_tokens=256,
        processes=Processes(),
    )


def content(store: Path) -> dict[str, str]:
    return digest_folder(store, without=[LOCK_NAME])


def test_where_all_rows_are_there_no_teacher_is_needed(
    theirs: Path, tokens: Tokens, tmp_path: Path
) -> None:
    """Catches a teacher that is asked for although nothing is to be computed."""
    before = content(theirs)
    teacher = take(theirs, tokens, tmp_path / "teacher")
    assert not list(teacher.glob("*.safetensors"))
    report = run(teacher, tokens, tmp_path / "mine")
    assert report.n_computed == 0 and report.taken is not None
    assert report.taken.n_rows == report.n_present == len(open_store(theirs))
    assert content(tmp_path / "mine") == before == content(theirs)
    again = run(teacher, tokens, tmp_path / "mine")
    assert (again.n_computed, again.taken and again.taken.n_segments) == (0, 0)


def test_only_missing_rows_are_computed(
    theirs: Path, own_tokens: Tokens, checkpoint: Path, tmp_path: Path
) -> None:
    """Catches rows that are computed twice, and a given store that is written into."""
    before = content(theirs)
    coverage = cover(open_store(theirs), own_tokens, [Array(LOGITS)])
    assert coverage.splits["train"].n_found == 20 and coverage.n_distinct_missing == N_OWN
    assert describe_coverage(coverage).splitlines()[-1] == (
        f"'dvc repro capture' computes the {N_OWN} distinct rows that it lacks"
    )
    without = take(theirs, own_tokens, tmp_path / "without")
    with pytest.raises(CheckpointError, match=rf"^{N_OWN} rows need attentions/02, .* no weights"):
        run(without, own_tokens, tmp_path / "mine")
    teacher = take(theirs, own_tokens, tmp_path / "teacher", checkpoint)
    report = run(teacher, own_tokens, tmp_path / "mine")
    assert report.n_computed == N_OWN
    assert content(theirs) == before
    assert verify_store(tmp_path / "mine", 1) == []
    mine, given = open_store(tmp_path / "mine"), open_store(theirs)
    assert len(mine) == len(given) + N_OWN
    keys = own_tokens.splits["train"].keys
    shared = given.coverage(keys).found
    ours = mine.attentions(mine.find(keys[shared]).tolist(), 4)
    assert ours.equal(given.attentions(given.find(keys[shared]).tolist(), 4))
    assert (mine.find(keys) >= 0).all()


def test_what_the_given_store_gets_later_is_taken_too(
    theirs: Path, own_tokens: Tokens, tokens: Tokens, checkpoint: Path, tmp_path: Path
) -> None:
    """Catches an update that is not seen, that overwrites own rows, or brings a row twice."""
    teacher = take(theirs, own_tokens, tmp_path / "teacher", checkpoint)
    run(teacher, own_tokens, tmp_path / "mine")
    write_csv(tmp_path / "data" / "train.csv", make_sentences(30, seed=5))
    write_csv(tmp_path / "data" / "validation.csv", make_sentences(30, 1))
    capture_store(theirs, checkpoint, tokens, (2, 3, 4), warm_start=False)
    more = make_tokens(tmp_path / "work" / "tokens", checkpoint, tmp_path / "data")
    capture_store(theirs, checkpoint, more, (2, 4), warm_start=False)
    report = run(teacher, own_tokens, tmp_path / "mine")
    assert report.n_computed == 0 and report.taken is not None
    assert report.taken.n_segments > 0 and report.taken.n_arrays > 0
    mine, given = open_store(tmp_path / "mine"), open_store(theirs)
    assert len(mine) == len(given) + N_OWN == len(np.unique(mine.keys.view("S16")))
    assert verify_store(tmp_path / "mine", 1) == []
    rows = mine.find(given.keys).tolist()
    assert mine.logits(rows).equal(given.logits(range(len(given))))


def test_a_part_is_not_computed_again(
    theirs: Path, own_tokens: Tokens, checkpoint: Path, tmp_path: Path
) -> None:
    """Catches layers that were only not fetched, and cost a forward of every row."""
    shutil.rmtree(theirs / "attentions" / "04")
    teacher = take(theirs, own_tokens, tmp_path / "teacher", checkpoint)
    with pytest.raises(StoreIncompleteError, match=r"attentions/04 was captured, but is not here"):
        run(teacher, own_tokens, tmp_path / "mine")
    report = run(teacher, own_tokens, tmp_path / "mine", layers=(2,))
    assert report.n_computed == N_OWN
    assert verify_store(tmp_path / "mine", 1) == []


@pytest.mark.parametrize("kind", ["labels", "checkpoint", "file"])
def test_a_store_that_does_not_fit_is_refused(
    theirs: Path, tokens: Tokens, tmp_path: Path, kind: str
) -> None:
    """Catches rows that would be taught by a teacher of something else."""
    checkpoint, said, error = None, "", PipelineError
    if kind == "labels":
        write_csv(tmp_path / "data" / "train.csv", [("the film", "bad"), ("the story", "good")])
        write_csv(tmp_path / "data" / "validation.csv", [("the acting", "bad")])
        base = make_checkpoint(tmp_path / "base", labels=("bad", "good"))
        tokens = make_tokens(tmp_path / "work" / "tokens", base, tmp_path / "data")
        said, error = (
            r"captured with labels=negative, positive, now bad, good\.",
            StoreMismatchError,
        )
    elif kind == "checkpoint":
        checkpoint = make_checkpoint(tmp_path / "other", seed=1)
        said, error = "other is not the teacher of .*theirs", CheckpointError
    else:
        replace_file(theirs / "teacher" / "config.json", b"{}")
        said, error = "config.json is not the file that the manifest names", StoreDamagedError
    with pytest.raises(error, match=said):
        take(theirs, tokens, tmp_path / "teacher", checkpoint)
    assert not (tmp_path / "teacher").exists()
