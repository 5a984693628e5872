"""Files and folders appear whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.core.atomic import disk_full_is_an_error, replacing_folder, write_file, write_json
from pipeline.core.errors import DiskFullError


def contents(folder: Path) -> dict[str, str]:
    """Return the text of every file below `folder`, and a mark for every folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_text() if path.is_file() else "folder"
        for path in folder.rglob("*")
    }


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every write fail when it is forced to the disk."""

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """A folder that an earlier run has left, alone in its parent."""
    folder = tmp_path / "parent" / "result"
    folder.mkdir(parents=True)
    (folder / "old").write_text("old")
    return folder


def test_a_folder_is_replaced_whole(result: Path) -> None:
    """Catches a file of the old result that stays among those of the new one."""
    with replacing_folder(result) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "new").write_text("new")
        assert contents(result) == {"old": "old"}
    assert contents(result.parent) == {
        "result": "folder",
        "result/sub": "folder",
        "result/sub/new": "new",
    }


def test_a_first_folder_appears_with_its_parents(tmp_path: Path) -> None:
    """Catches a first run that needs somebody to make `artifacts`."""
    with replacing_folder(tmp_path / "artifacts" / "result") as folder:
        (folder / "new").write_text("new")
        assert not (tmp_path / "artifacts" / "result").exists()
    assert contents(tmp_path / "artifacts") == {"result": "folder", "result/new": "new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_block_that_raises_leaves_the_old_folder_alone(
    result: Path, error: type[BaseException]
) -> None:
    """Catches half a result after Ctrl-C, and leftovers that fill the disk."""
    with pytest.raises(error), replacing_folder(result) as folder:
        (folder / "new").write_text("half")
        raise error
    assert contents(result.parent) == {"result": "folder", "result/old": "old"}


@pytest.mark.parametrize("n_renames", [0, 1])
def test_a_swap_that_fails_leaves_the_old_folder_alone(
    result: Path, monkeypatch: pytest.MonkeyPatch, n_renames: int
) -> None:
    """Catches a result that is gone because Ctrl-C came between the two renames."""
    rename = Path.rename
    renamed: list[Path] = []

    def fail_later(source: Path, target: Path) -> Path:
        if len(renamed) == n_renames and source.name.startswith("result"):
            renamed.append(source)
            raise KeyboardInterrupt
        renamed.append(source)
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", fail_later)
    with pytest.raises(KeyboardInterrupt), replacing_folder(result) as folder:
        (folder / "new").write_text("new")
    assert contents(result) == {"old": "old"}


def test_what_a_killed_run_left_between_the_renames_is_put_back(result: Path) -> None:
    """Catches the only good result being thrown away by the run after a kill."""
    result.rename(result.with_name("result.replaced"))  # a kill between the two renames
    with pytest.raises(ValueError, match="no"), replacing_folder(result):
        raise ValueError("no")
    assert contents(result.parent) == {"result": "folder", "result/old": "old"}


def test_leftovers_of_a_killed_run_are_not_taken_over(result: Path) -> None:
    """Catches files of a killed run that end up in the next run's result."""
    partial = result.with_name("result.partial")
    partial.mkdir()
    (partial / "stale").write_text("stale")
    with replacing_folder(result) as folder:
        (folder / "new").write_text("new")
    assert contents(result.parent) == {"result": "folder", "result/new": "new"}


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_the_old_folder_alone(result: Path) -> None:
    """Catches a result lost to a full disk, or one reported without its place and remedy."""
    with pytest.raises(DiskFullError) as caught, replacing_folder(result) as folder:
        (folder / "new").write_text("new")
    assert str(caught.value) == (
        f"{result}: no space left on the disk while writing. Free some space and run the "
        "stage again."
    )
    assert contents(result.parent) == {"result": "folder", "result/old": "old"}


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_the_old_file_alone(tmp_path: Path) -> None:
    """Catches a manifest cut short by a full disk, and the unfinished copy staying on it."""
    path = tmp_path / "manifest.json"
    path.write_bytes(b"old")
    with pytest.raises(DiskFullError, match=r"manifest\.json: no space left on the disk"):
        write_file(path, b"new")
    assert contents(tmp_path) == {"manifest.json": "old"}


def test_a_hard_linked_file_is_never_written_in_place(tmp_path: Path) -> None:
    """Catches a write that goes through a hard link into DVC's cache."""
    path, cached = tmp_path / "metrics.json", tmp_path / "cached"
    path.write_bytes(b"old")
    os.link(path, cached)
    write_file(path, b"new")
    assert (path.read_bytes(), cached.read_bytes()) == (b"new", b"old")
    assert contents(tmp_path) == {"metrics.json": "new", "cached": "old"}


def test_hard_linked_files_of_a_folder_keep_their_bytes(result: Path, tmp_path: Path) -> None:
    """Catches a folder that is replaced file by file, through DVC's hard links."""
    os.link(result / "old", tmp_path / "cached")
    with replacing_folder(result) as folder:
        (folder / "old").write_text("new")
    assert (result / "old").read_text() == "new"
    assert (tmp_path / "cached").read_text() == "old"


def test_equal_values_are_equal_bytes(tmp_path: Path) -> None:
    """Catches JSON whose bytes, and so DVC's verdict, depend on the order of keys."""
    write_json(tmp_path / "one", {"b": 1, "a": [1.5, None]})
    write_json(tmp_path / "other", {"a": [1.5, None], "b": 1})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "one", {"loss": float("nan")})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@contextmanager
def library_error(kind: str) -> Iterator[None]:
    """Raise what a library makes of a full disk."""
    full = OSError(errno.EDQUOT if kind == "quota" else errno.ENOSPC, "from the system")
    if kind == "wrapped":
        raise RuntimeError("cannot write the tensor") from full
    if kind == "quoted":
        raise RuntimeError(f"I/O error: {os.strerror(errno.ENOSPC)} (os error 28)")
    if kind == "while handling":
        try:
            raise full
        except OSError:
            raise ValueError("cannot close the file")  # noqa: B904  # this is the case
    raise full
    yield


@pytest.mark.parametrize("kind", ["plain", "quota", "wrapped", "quoted", "while handling"])
def test_a_full_disk_is_recognised_through_libraries(tmp_path: Path, kind: str) -> None:
    """Catches a traceback for a full disk that safetensors or zarr reported in its own way."""
    with pytest.raises(DiskFullError), disk_full_is_an_error(tmp_path), library_error(kind):
        pass


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    """Catches every failure being blamed on the disk."""
    error = OSError(errno.EACCES, "denied")
    with pytest.raises(OSError, match="denied") as caught, disk_full_is_an_error(tmp_path):
        raise error
    assert caught.value is error
