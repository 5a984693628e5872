"""Whatever happens to a file of a store, `decant verify` names it."""

import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.core.errors import StoreDamagedError, StoreIncompleteError
from pipeline.core.fingerprint import digest_folder
from pipeline.store.manifest import MANIFEST_NAME, manifest_bytes, read_manifest
from pipeline.store.reader import open_store
from pipeline.store_tools.verify import Damage, verify_store
from stages.verify import main
from tests.store.altered import alter, flip, read_content, replace_file, replace_recorded
from tests.store.full_store import FULL, SEGMENT_LENGTHS, full_store

N_FLIPS = 500
CHUNK = "cls/00001/c/0/0/0"
ONE_OF_EACH_KIND = (
    "rows/00000.arrow",
    "teacher/config.json",
    "logits/00001/c/0/0",
    CHUNK,
    "cls/moments/00000/c/0/0/0",
    "hidden_states/00/00000/c/0",
    "attentions/01/00001/c/0",
    "attentions/02-mean/00000/c/0",
    "attentions/02-mean/00000/zarr.json",
    "zarr.json",
    "cls/zarr.json",
    "attentions/02/zarr.json",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with every signal and encoding; not to be changed."""
    folder = tmp_path_factory.mktemp("full")
    return full_store(folder / "store", folder / "sources")


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(whole, tmp_path / "store"))


def damaged_files(store: Path) -> set[str]:
    """Return what `verify_store` names; the manifest where that is refused."""
    try:
        return {damage.file for damage in verify_store(store, 2)}
    except (StoreDamagedError, StoreIncompleteError) as error:
        assert MANIFEST_NAME in str(error)
        return {MANIFEST_NAME}


def test_a_whole_store_has_no_damage(whole: Path) -> None:
    """Catches a check that refuses what the writer writes, and guards the tests below."""
    assert verify_store(whole, 2) == []
    assert len(open_store(whole)) == sum(map(len, SEGMENT_LENGTHS)) == 5
    files = set(digest_folder(whole))
    assert files.issuperset(ONE_OF_EACH_KIND)
    assert set(FULL.values()) == {"float32", "float16", "bfloat16", "uint8_cbrt"}


def test_every_flipped_bit_is_found(store: Path) -> None:
    """Catches a byte that no check covers, in any file, the smallest ones too.

    A round flips one bit in each of some files, all of which must be named; the manifest,
    without which nothing can be said of others, is flipped alone.
    """
    draw = random.Random(0)
    files = sorted(set(digest_folder(store)) - {MANIFEST_NAME})
    rounds = [[MANIFEST_NAME]] * 20 + [draw.sample(files, 12) for _ in range(40)]
    assert sum(map(len, rounds)) == N_FLIPS
    assert {name for names in rounds for name in names} == {*files, MANIFEST_NAME}
    for names in rounds:
        flips = [
            (store / name, draw.randrange((store / name).stat().st_size), draw.randrange(8))
            for name in names
        ]
        for position in flips:
            flip(*position)
        assert damaged_files(store) == set(names), flips
        for position in flips:
            flip(*position)
    assert damaged_files(store) == set()


@pytest.mark.parametrize("name", [*ONE_OF_EACH_KIND, MANIFEST_NAME])
def test_every_truncated_or_missing_file_is_found(store: Path, name: str) -> None:
    """Catches a file that is only looked at where it is there."""
    content = (store / name).read_bytes()
    for shortened in (content[:-1], content[: len(content) // 2], b"", content + b"\0"):
        replace_file(store / name, shortened)
        assert damaged_files(store) == {name}
    (store / name).unlink()
    assert damaged_files(store) == {name}


@pytest.mark.parametrize(
    "name",
    [
        "rows/00002.arrow",
        "teacher/pytorch_model.bin",
        "logits/00007/zarr.json",
        "logits/00000/c/0/1",
        "cls/.nfs0001",
        "hidden_states/01/zarr.json",
        "attentions/03/00000/c/0",
        "notes.txt",
        "manifest.json.partial",
    ],
)
def test_every_extra_file_is_found(store: Path, name: str) -> None:
    """Catches files that are shared and pushed although no one knows what they are."""
    (store / name).parent.mkdir(parents=True, exist_ok=True)
    (store / name).write_bytes(b"")
    assert verify_store(store, 1) == [Damage(name, "is not accounted for by the manifest")]


def test_what_a_stopped_capture_left_is_no_damage(store: Path) -> None:
    """Catches an alarm about a capture that is running, or that will be taken up again."""
    for name in (".partial/00002/rows/00002.arrow", ".finished/00003.json", ".lock", ".gitignore"):
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_bytes(b"")
    assert verify_store(store, 2) == []


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (CHUNK, "is a symbolic link"),
        ("rows/00000.arrow", "is a symbolic link"),
        ("zarr.json", "is a symbolic link"),
        ("cls/zarr.json", "is a symbolic link"),
        ("teacher/config.json", "is a symbolic link"),
    ],
)
def test_a_link_is_damage(store: Path, tmp_path: Path, name: str, fault: str) -> None:
    """Catches a file outside the store that is read, or shared, as if it were in it."""
    outside = (store / name).rename(tmp_path / "outside")
    (store / name).symlink_to(outside)
    found = verify_store(store, 2)
    assert [(damage.file, damage.fault) for damage in found] == [(name, fault)]


@pytest.mark.parametrize("folder", ["cls", "cls/00001", "cls/00001/c", "rows", "hidden_states"])
def test_a_linked_folder_is_damage(store: Path, tmp_path: Path, folder: str) -> None:
    """Catches links that are looked for in a file's name only."""
    outside = shutil.move(store / folder, tmp_path / "outside")
    (store / folder).symlink_to(outside)
    found = {damage.file: damage.fault for damage in verify_store(store, 2)}
    inside = {name: fault for name, fault in found.items() if name.startswith(f"{folder}/")}
    assert inside and set(inside.values()) == {f"lies in {folder}, which is a symbolic link"}
    assert folder in found and set(found) == {folder, *inside}


def test_what_is_no_file_is_damage(store: Path) -> None:
    """Catches a check that waits for ever on a pipe."""
    for name, make in ((CHUNK, os.mkfifo), ("cls/zarr.json", os.mkfifo), ("zarr.json", os.mkdir)):
        (store / name).unlink()
        make(store / name)
        assert Damage(name, "is not a regular file").fault in {
            damage.fault for damage in verify_store(store, 2) if damage.file == name
        }


def test_a_damage_names_its_rows(store: Path) -> None:
    """Catches a report that leaves open which examples are lost."""
    flip(store / CHUNK, 0, 0)
    replace_file(store / "rows/00000.arrow", b"")
    flip(store / "teacher/vocab.txt", 0, 0)
    lines = [str(damage) for damage in verify_store(store, 2)]
    assert len(lines) == 3
    assert re.fullmatch(
        r"cls/00001/c/0/0/0 has SHA-256 [0-9a-f]{12} instead of [0-9a-f]{12}; rows 3 to 4 "
        r"\(segment 00001\)",
        lines[0],
    )
    assert re.fullmatch(
        r"rows/00000\.arrow has 0 bytes instead of \d+; rows 0 to 2 \(segment 00000\)", lines[1]
    )
    assert re.fullmatch(r"teacher/vocab\.txt has SHA-256 .{12} instead of .{12}", lines[2])


def test_a_chunk_with_a_wrong_checksum_is_found(store: Path) -> None:
    """Catches a chunk that this reader takes and every other Zarr reader refuses."""
    content = bytearray((store / CHUNK).read_bytes())
    content[-1] ^= 1
    place = ("segments", 1, "arrays", "cls", "chunk")
    replace_recorded(store, CHUNK, place, bytes(content))
    (damage,) = verify_store(store, 2)
    assert (damage.file, damage.fault) == (CHUNK, "does not end with the CRC32C of its data")
    assert damage.rows == range(3, 5)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b'"float16"', b'"float32"', "says attributes={'encoding': 'float32'} instead of"),
        (b'"data_type": "float16"', b'"data_type": "int16"', "says data_type='int16' instead of"),
        (b'"little"', b'"big"', "says codecs="),
        (b'"hidden"', b'"width"', "says dimension_names=['row', 'layer', 'width'] instead of"),
        (b"  3,\n    4", b"4,3", "says shape=[2, 4, 3] instead of [2, 3, 4]"),
        (b'"chunk_shape": [', b'"chunk_shape": [1,', "says chunk_grid="),
        (b'"fill_value": 0.0', b'"fill_value": 1.0', "says fill_value=1.0 instead of 0"),
        (b'"zarr_format": 3', b'"zarr_format": 2', "says zarr_format=2 instead of 3"),
        (b'"node_type"', b'"url": "/etc", "node_type"', "says url='/etc' instead of None"),
        (b"{", b"[" * 100_000, "has 100,"),
        (b"{", b"[" * 50_000, "is not JSON"),
        (b"{", b"[{", "is not JSON"),
    ],
)
def test_metadata_of_another_array_are_found(
    store: Path, old: bytes, new: bytes, fault: str
) -> None:
    """Catches an array that other Zarr readers see in another shape or type than this one."""
    name = "cls/00001/zarr.json"
    content = (store / name).read_bytes()
    assert old in content
    place = ("segments", 1, "arrays", "cls", "metadata")
    replace_recorded(store, name, place, content.replace(old, new, 1 if old == b"{" else -1))
    open_store(store)  # which does not look
    (damage,) = verify_store(store, 2)
    assert damage.file == name and damage.fault.startswith(fault)


def test_repeated_keys_are_found(store: Path) -> None:
    """Catches a row that is there twice, of which a reader takes either."""
    content = read_content(store)
    second = content["segments"][1]
    replace_file(store / "rows/00002.arrow", (store / "rows/00001.arrow").read_bytes())
    content["segments"].append({**second, "name": "00002", "arrays": {}})
    alter(store, (("segments",), content["segments"]))
    (damage,) = verify_store(store, 2)
    fault = "repeats 2 keys that are in the store already; rows 5 to 6 (segment 00002)"
    assert str(damage) == f"rows/00002.arrow {fault}"


def test_a_file_that_may_not_be_read_is_no_damage(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a repair that removes what belongs to another user."""
    monkeypatch.setattr(Path, "open", refuse(PermissionError(13, "Permission denied")))
    with pytest.raises(StoreDamagedError, match=r"Permission denied\. Verify as a user who may"):
        verify_store(store, 2)


def test_a_file_that_the_disk_cannot_read_is_found(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a traceback in place of the name of the file on a dying disk."""
    name = "logits/00000/c/0/0"
    monkeypatch.setattr(Path, "open", refuse(OSError(5, "Input/output error"), store / name))
    (damage,) = verify_store(store, 2)
    assert (damage.file, damage.fault) == (name, "cannot be read (Input/output error)")


def refuse(error: OSError, only: Path | None = None) -> Callable[..., object]:
    """Return `Path.open` that raises for binary files read unbuffered, or for one of them."""
    open_file = Path.open

    def limited(path: Path, *args: object, **options: object) -> object:
        if options.get("buffering") == 0 and only in (None, path):
            raise error
        return open_file(path, *args, **options)  # type: ignore[arg-type]

    return limited


def test_the_command_says_what_it_found(store: Path, tmp_path: Path) -> None:
    """Catches damage that ends with exit code 0, and a command that needs the project."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)  # no params.yaml here
        result = CliRunner().invoke(main, ["store"])
        assert result.exit_code == 0
        manifest = read_manifest(store)
        sizes = [record.size_bytes for _, record in manifest.files()]
        assert result.stdout == (
            f"verify: store is whole: {len(sizes)} files of {sum(sizes):,} bytes in 2 segments\n"
        )
        assert sum(sizes) + len(manifest_bytes(manifest)) < sum(
            path.stat().st_size for path in store.rglob("*") if path.is_file()
        )  # the groups are beside them
        (store / CHUNK).unlink()
        result = CliRunner().invoke(main, ["store"])
    assert result.exit_code == 1
    assert result.stdout == f"{CHUNK} is missing; rows 3 to 4 (segment 00001)\n"
    assert result.stderr.splitlines()[-1].startswith("verify: store is damaged: 1 faults in ")
    assert CliRunner().invoke(main, [str(tmp_path / "absent")]).exit_code == 1
