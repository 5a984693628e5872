"""A repaired store lacks what was damaged and nothing else; a capture puts it back."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.core.errors import StoreDamagedError, StoreIncompleteError, StoreLockedError
from pipeline.core.fingerprint import digest_folder
from pipeline.store.lock import LOCK_NAME, locked
from pipeline.store.manifest import read_manifest
from pipeline.store.row_table import read_row_table
from pipeline.store_tools.repair import Repair, repair_store
from pipeline.store_tools.verify import verify_store
from pipeline.teacher.extract import Extracted, Extractor
from pipeline.text.token_row import TokenRow
from pipeline.text.tokens import Tokens
from stages.repair import main
from tests.conftest import capture_store
from tests.store.altered import flip, replace_file

Damager = Callable[[Path], None]
Capture = Callable[[Path], Path]

EVERY_ARRAY = frozenset({"logits", "cls", "hidden_states/01", "attentions/02", "attentions/04"})


@pytest.fixture(scope="module")
def capture(checkpoint: Path, tokens: Tokens) -> Capture:
    """Return the capture that makes, or completes, the store of these tests."""
    signals = {
        "hidden_states": {"layers": (1,), "encoding": "bfloat16"},
        "attentions": {"layers": (2, 4), "encoding": "uint8_cbrt"},
    }
    return lambda folder: capture_store(folder, checkpoint, tokens, signals=signals)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, capture: Capture) -> Path:
    """An undamaged store; not to be changed."""
    folder = capture(tmp_path_factory.mktemp("whole") / "store")
    assert len(read_manifest(folder).segments) == 4
    return folder


@pytest.fixture
def store(tmp_path: Path, whole: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(whole, tmp_path / "store"))


def content(folder: Path) -> dict[str, str]:
    """Return the digest of every file of a store."""
    return digest_folder(folder, without=[LOCK_NAME])


@dataclass
class Seen:
    """What the teacher computed."""

    keys: list[bytes] = field(default_factory=list)
    arrays: set[str] = field(default_factory=set)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Note every row and array that an extractor computes from now on."""
    seen = Seen()
    compute = Extractor.__call__

    def note(self: Extractor, rows: list[TokenRow]) -> Extracted:
        signals = compute(self, rows)
        seen.keys += [row.key() for row in rows]
        seen.arrays |= {array.name for array in signals.wait()}
        return signals

    monkeypatch.setattr(Extractor, "__call__", note)
    return seen


def flipped(name: str) -> Damager:
    return lambda store: flip(store / name, -1, 3)


def removed(name: str) -> Damager:
    return lambda store: (store / name).unlink()


def emptied(name: str) -> Damager:
    return lambda store: replace_file(store / name, b"")


def made_folder(name: str) -> Damager:
    def damage(store: Path) -> None:
        (store / name).unlink()
        (store / name).mkdir()
        (store / name / "inside").write_bytes(b"")

    return damage


def linked(name: str) -> Damager:
    def damage(store: Path) -> None:
        outside = shutil.move(store / name, store.parent / "outside")
        (store / name).symlink_to(outside)

    return damage


CHUNK = "attentions/04/00001/c/0"

# What was damaged, and which arrays are computed again, in which segments.
DAMAGES: dict[str, tuple[Damager, frozenset[str], tuple[int, ...]]] = {
    "chunk": (flipped(CHUNK), frozenset({"attentions/04"}), (1,)),
    "no chunk": (removed(CHUNK), frozenset({"attentions/04"}), (1,)),
    "empty chunk": (emptied("logits/00003/c/0/0"), frozenset({"logits"}), (3,)),
    "metadata": (
        flipped("hidden_states/01/00000/zarr.json"),
        frozenset({"hidden_states/01"}),
        (0,),
    ),
    "moments": (flipped("cls/moments/00002/c/0/0/0"), frozenset({"cls"}), (2,)),
    "cls": (flipped("cls/00002/c/0/0/0"), frozenset({"cls"}), (2,)),
    "rows": (flipped("rows/00001.arrow"), EVERY_ARRAY, (1,)),
    "no rows": (removed("rows/00003.arrow"), EVERY_ARRAY, (3,)),
    "teacher": (flipped("teacher/model.safetensors"), frozenset(), ()),
    "no teacher": (removed("teacher/config.json"), frozenset(), ()),
    "teacher folder": (made_folder("teacher/config.json"), frozenset(), ()),
    "group": (flipped("cls/zarr.json"), frozenset(), ()),
    "root group": (made_folder("zarr.json"), frozenset(), ()),
    "no group": (removed("attentions/02/zarr.json"), frozenset(), ()),
    "chunk folder": (made_folder(CHUNK), frozenset({"attentions/04"}), (1,)),
    "linked chunk": (linked(CHUNK), frozenset({"attentions/04"}), (1,)),
    "linked layer": (linked("attentions/04"), frozenset({"attentions/04"}), (0, 1, 2, 3)),
    "linked signal": (linked("cls"), frozenset({"cls"}), (0, 1, 2, 3)),
    "linked rows": (linked("rows"), EVERY_ARRAY, (0, 1, 2, 3)),
    "extra": (
        lambda store: (store / "logits/notes").write_bytes(b"mine"),
        frozenset(),
        (),
    ),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_only_what_was_damaged_is_computed_again(
    store: Path, whole: Path, tmp_path: Path, capture: Capture, seen: Seen, kind: str
) -> None:
    """Catches a repair that leaves damage, drops what is good, or writes through a hard link."""
    damage, arrays, segments = DAMAGES[kind]
    damage(store)
    shutil.copytree(store, tmp_path / "cache", copy_function=os.link, symlinks=True)
    before = content(tmp_path / "cache")
    assert verify_store(store, 2) != []
    tables = [read_row_table(whole, segment) for segment in read_manifest(whole).segments]
    damaged = sorted(key.tobytes() for index in segments for key in tables[index].keys)

    assert repair_store(store, 2).damages != []
    assert verify_store(store, 2) == []
    assert seen.keys == []
    capture(store)
    assert sorted(seen.keys) == damaged
    assert seen.arrays == arrays
    assert content(store) == content(whole)
    assert verify_store(store, 2) == []
    assert content(tmp_path / "cache") == before


def test_several_damages_at_once(store: Path, whole: Path, capture: Capture, seen: Seen) -> None:
    """Catches a repair of the first damage only, and counts that are wrong."""
    for name in ("logits/00000/c/0/0", "rows/00001.arrow", "cls/00001/zarr.json"):
        flip(store / name, 0, 0)
    flip(store / "cls/moments/00002/zarr.json", 0, 0)
    (store / "teacher/vocab.txt").unlink(missing_ok=True)
    (store / "teacher/tokenizer.json").unlink()
    repair = repair_store(store, 2)
    assert (repair.n_segments, repair.n_arrays, repair.n_teacher_files) == (1, 3, 1)
    segments = {segment.name: segment for segment in read_manifest(store).segments}
    assert sorted(segments) == ["00000", "00002", "00003"]  # a gap, until the capture
    assert set(segments["00000"].arrays) == {*EVERY_ARRAY, "cls/moments"} - {"logits"}
    assert set(segments["00002"].arrays) == EVERY_ARRAY - {"cls"}
    assert verify_store(store, 2) == []
    capture(store)
    assert seen.keys and content(store) == content(whole)


def test_a_whole_store_is_left_alone(store: Path, whole: Path) -> None:
    """Catches a repair that drops or rewrites what is good."""
    times = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    assert repair_store(store, 2) == Repair([], 0, 0, 0, [])
    times.pop(store / LOCK_NAME)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert content(store) == content(whole)


def test_what_lies_beside_the_store_is_left(store: Path) -> None:
    """Catches a repair that deletes a user's own files."""
    (store / "notes.txt").write_bytes(b"mine")
    (store / "plots").mkdir()
    (store / "plots" / "plot.png").write_bytes(b"mine")
    assert repair_store(store, 2).left == ["notes.txt", "plots"]
    assert (store / "notes.txt").read_bytes() == (store / "plots/plot.png").read_bytes() == b"mine"


def test_a_link_is_removed_and_not_what_it_leads_to(store: Path, tmp_path: Path) -> None:
    """Catches a repair that follows a link, and empties a folder outside the store."""
    outside = tmp_path / "documents"
    (outside / "empty").mkdir(parents=True)
    (outside / "letter").write_bytes(b"mine")
    (store / "logits" / "zz").symlink_to(outside)
    shutil.rmtree(store / ".finished", ignore_errors=True)
    (store / ".finished").symlink_to(outside)
    shutil.rmtree(store / "attentions")
    (store / "attentions").symlink_to(outside)
    repair_store(store, 2)
    assert (outside / "letter").read_bytes() == b"mine" and (outside / "empty").is_dir()
    assert not any(path.is_symlink() for path in store.rglob("*"))
    assert verify_store(store, 2) == []


def test_a_damaged_manifest_cannot_be_repaired(store: Path) -> None:
    """Catches a repair that drops a whole store because one byte of its manifest is wrong."""
    flip(store / "manifest.json", 40, 0)
    before = content(store)
    with pytest.raises(StoreDamagedError) as caught:
        repair_store(store, 2)
    message = f"{store} cannot be repaired, because only its manifest says what belongs to it: "
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith("Restore manifest.json with 'dvc checkout' first.")
    assert content(store) == before


def test_a_folder_without_a_store_is_not_made(tmp_path: Path) -> None:
    """Catches a typing error in a path that leaves a folder with a lock behind."""
    with pytest.raises(StoreIncompleteError, match="holds no teacher store"):
        repair_store(tmp_path / "absent", 2)
    assert not (tmp_path / "absent").exists()


def test_a_store_that_is_being_written_is_not_repaired(store: Path) -> None:
    """Catches a repair that removes a running capture's files."""
    (store / "cls" / "zarr.json").unlink()
    with locked(store), pytest.raises(StoreLockedError, match="is being written by process"):
        repair_store(store, 2)
    assert len(verify_store(store, 2)) == 1


def test_the_command_says_what_it_did(store: Path) -> None:
    """Catches a repair that does not say what is gone."""
    result = CliRunner().invoke(main, [str(store)])
    assert (result.exit_code, result.stdout) == (
        0,
        f"repair: {store} is whole; nothing was changed\n",
    )
    (store / CHUNK).unlink()
    (store / "notes.txt").write_bytes(b"mine")
    result = CliRunner().invoke(main, [str(store)])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{CHUNK} is missing; rows 40 to 79 (segment 00001)",
        "notes.txt is not accounted for by the manifest",
        "notes.txt was left where it is; move it out of the store",
        f"repair: {store}: 2 faults; dropped 0 segments, 1 further arrays and 0 teacher files. "
        "Run 'dvc repro capture' to make them again.",
    ]
    replace_file(store / "manifest.json", b"{}")
    result = CliRunner().invoke(main, [str(store)])
    assert result.exit_code == 1 and "cannot be repaired" in result.stderr
