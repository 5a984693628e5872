"""What a user can mend ends as one line that says how, with exit code 1."""

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from pipeline.core.fingerprint import digest_folder
from tests.conftest import make_checkpoint, make_sentences, make_tokenizer, write_csv
from tests.small_project import PARAMS, change, write_params
from tests.stages.conftest import invoke


def only_line(result: Result) -> str:
    """Return the one line on stderr of a stage that failed as it should."""
    assert result.exit_code == 1, result.output
    progress = re.compile(r"\d+%\||\bit/s\b|^\s*$")
    lines = [line for line in re.split(r"[\r\n]+", result.stderr) if not progress.search(line)]
    assert len(lines) == 1, lines
    assert "Traceback" not in lines[0]
    return lines[0]


def test_missing_data_file(project: Path) -> None:
    """A missing training file would otherwise be a traceback from deep in a reader."""
    shutil.rmtree(project / "data")
    (project / "data").mkdir()
    shutil.rmtree("artifacts/tokens")
    line = only_line(invoke("prepare"))
    assert "data has no training file" in line
    assert not Path("artifacts/tokens").exists()


def test_unknown_label(project: Path) -> None:
    """A label that training never saw must not become a number by accident."""
    rows = [*make_sentences(20), ("the film was odd", "neutral")]
    write_csv(project / "data" / "validation.csv", rows)
    line = only_line(invoke("prepare"))
    assert "validation: unknown label 'neutral' (first in row 21)" in line
    assert "negative, positive" in line


def test_empty_text_column(project: Path) -> None:
    """Empty texts tokenise to [CLS] [SEP] and would be learned as if they were data."""
    write_csv(project / "data" / "train.csv", [("", "negative"), ("", "positive")])
    line = only_line(invoke("prepare"))
    assert "2 of 2 rows have no text in column 'text' (first: row 1)" in line


def test_missing_column(project: Path) -> None:
    """The message must name the columns that there are."""
    write_params(project, change(PARAMS, "data.columns", {"text": "sentence"}))
    line = only_line(invoke("prepare"))
    assert "no column 'sentence'; it has 'text', 'label'" in line
    assert "data.columns.text" in line


def test_checkpoint_with_wrong_number_of_labels(project: Path) -> None:
    """A head of another width must not be replaced by a random one with a warning."""
    make_checkpoint(project / "base", labels=("a", "b", "c"))
    before = digest_folder(project / "artifacts" / "teacher")
    line = only_line(invoke("finetune"))
    assert "has a head for 3 labels, the data has 2 (negative, positive)" in line
    assert digest_folder(project / "artifacts" / "teacher") == before


def test_store_of_another_teacher(project: Path) -> None:
    """Signals of two teachers in one store would teach nonsense."""
    make_checkpoint(project / "base", seed=1)
    assert invoke("finetune").exit_code == 0
    before = digest_folder(project / "artifacts" / "teacher_store")
    line = only_line(invoke("capture"))
    assert "was captured with weights=" in line
    assert "delete the store" in line
    assert digest_folder(project / "artifacts" / "teacher_store") == before


def test_store_of_another_max_length(project: Path) -> None:
    """Rows cut elsewhere have other keys and other lengths."""
    write_params(project, change(PARAMS, "tokenizer.max_length", 8))
    for name in ("prepare", "augment", "finetune", "generate"):
        assert invoke(name).exit_code == 0
    line = only_line(invoke("capture"))
    assert "max_length=64, now 8" in line


def test_store_of_another_tokenizer(project: Path) -> None:
    """Token ids mean other words under another tokenizer."""
    before = digest_folder(project / "artifacts" / "teacher")
    make_tokenizer(project / "base", ("film", "the", "was"))
    for name in ("prepare", "augment"):
        assert invoke(name).exit_code == 0
    shutil.rmtree(project / "artifacts" / "generated")
    line = only_line(invoke("capture"))
    assert "artifacts/teacher has tokenizer" in line
    assert "the token table was made with" in line
    assert digest_folder(project / "artifacts" / "teacher") == before


def test_training_refuses_tokens_the_store_was_not_captured_for(project: Path) -> None:
    """A token table that changed after `select` would be joined with a stale view."""
    write_csv(project / "data" / "train.csv", make_sentences(80, seed=9))
    assert invoke("prepare").exit_code == 0
    line = only_line(invoke("select", "kd-2"))
    assert "lacks" in line and "distinct rows of the token table" in line
    write_params(project, change(PARAMS, "training.epochs", 1))
    line = only_line(invoke("distill", "kd-2"))
    assert "the view was made for token table" in line


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function after which forced writes, but the first few, say the disk is full."""

    def fill() -> None:
        sync, n_left = os.fsync, 6  # stamp and group of the new layer come before its first segment

        def fail(descriptor: int) -> None:
            nonlocal n_left
            if n_left:
                n_left -= 1
                return sync(descriptor)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", fail)

    return fill


def test_disk_full_during_capture(
    project: Path, full_disk: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment that does not fit must not be listed, and those before it must stay."""
    write_params(project, change(PARAMS, "capture.signals.attentions.layers", [2, 3]))
    before = digest_folder(project / "artifacts" / "teacher_store")
    with monkeypatch.context():
        full_disk()
        line = only_line(invoke("capture"))
    monkeypatch.undo()
    monkeypatch.chdir(project)
    assert "no space left on the disk" in line
    assert "0 of 4 segments of this run are committed" in line
    after = digest_folder(project / "artifacts" / "teacher_store")
    assert {name: after[name] for name in before} == before
    result = invoke("capture")
    assert result.exit_code == 0
    assert "arrays added to 140 rows already present" in result.output


def test_faults_in_params_stop_every_stage_before_it_starts(project: Path) -> None:
    """A fault in a student's section must be found before the teacher is trained."""
    params = change(PARAMS, "students.kd-2.objectives.soft_target.temperature", 0)
    write_params(project, change(params, "capture.signal", {}))
    result = invoke("prepare")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "params.yaml: capture.signal: unknown key; did you mean 'signals'?",
        "params.yaml: students.kd-2.objectives.soft_target.temperature: should be greater than 0, "
        "got 0",
    ]


@pytest.mark.parametrize(
    ("stage", "missing", "line"),
    [
        (
            "evaluate",
            "artifacts/students/kd-2",
            " is not a finished student. Run 'dvc repro distill",
        ),
        ("distill", "artifacts/views/kd-2.json", ": no such view. Run 'dvc repro select'."),
        ("evaluate", "artifacts/views/kd-2.json", ": no such view. Run 'dvc repro select'."),
        ("evaluate", "artifacts/shown/kd-2.json", ": no such view. Run 'dvc repro select'."),
    ],
)
def test_what_an_earlier_stage_makes_is_missing(
    project: Path, stage: str, missing: str, line: str
) -> None:
    """Catches a traceback for a stage that is run by hand before the one that it needs."""
    path = project / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    stopped = invoke(stage, "kd-2")
    assert stopped.exit_code == 1
    assert only_line(stopped).startswith(f"{stage}: {missing}{line}")
