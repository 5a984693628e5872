"""A store of word pieces that is damaged or made up: found, or refused when it is opened."""

import re
import shutil
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.errors import StoreDamagedError
from pipeline.signals.top_logits import top_k_arrays
from pipeline.store.manifest import read_manifest
from pipeline.store.reader import open_store
from pipeline.store.row_table import RowTable, read_row_table, write_row_table
from pipeline.store.spec import chunk_file
from pipeline.store_tools.verify import verify_store
from tests.piece_tokens import N_PIECES
from tests.store.altered import alter, read_content, replace_recorded, write_sealed
from tests.store.masked_store import Captured, K


def test_a_flipped_bit_is_found(captured: Captured, tmp_path: Path) -> None:
    """Catches arrays that `decant verify` does not look at."""
    assert verify_store(captured.folder, 1) == []
    for array in top_k_arrays(K):
        folder = shutil.copytree(captured.folder, tmp_path / array.name.replace("/", "_"))
        path = folder / chunk_file(array, "00001")
        content = bytearray(path.read_bytes())
        content[3] ^= 1
        path.write_bytes(content)
        (damage,) = verify_store(folder, 1)
        assert damage.file == chunk_file(array, "00001") and damage.rows == range(4, 8)


def test_pieces_that_there_are_none_of_are_found(captured: Captured, tmp_path: Path) -> None:
    """Catches numbers that fail where they are looked up, on a device without a message."""
    folder = shutil.copytree(captured.folder, tmp_path / "store")
    array = top_k_arrays(K).pieces
    name = chunk_file(array, "00001")
    values = np.frombuffer((folder / name).read_bytes()[:-4], "<i4").copy()
    for wrong, said in ((N_PIECES, r"\d+ to 40"), (-1, r"-1 to \d+")):
        values[5] = wrong
        data = values.tobytes()
        sealed = data + google_crc32c.value(data).to_bytes(4, "little")
        place = ("segments", 1, "arrays", array.name, "chunk")
        replace_recorded(folder, name, place, sealed)
        (damage,) = verify_store(folder, 1)
        assert damage.file == name and damage.rows == range(4, 8)
        message = rf"has word pieces {said} of a vocabulary of 40"
        assert re.fullmatch(message, damage.fault)
        store = open_store(folder)
        assert len(store.read(array, range(4)).values)
        with pytest.raises(StoreDamagedError, match=rf"{message}\. Run 'decant verify "):
            store.read(array, range(8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_targets": None}, "n_targets, n_target_pairs and n_cross_pairs go together"),
        (
            {"n_targets": None, "n_target_pairs": None, "n_cross_pairs": None},
            "segment 00000: logits/log_sum_exp needs n_targets",
        ),
        ({"n_targets": 2**47}, "140,737,488,355,328 targets"),
        ({"n_targets": -1}, "n_targets: Input should be greater than or equal to 0"),
        ({"n_target_pairs": 2**47}, "140,737,488,355,328 target pairs"),
        ({"n_target_pairs": 3}, "3 target pairs"),
        ({"n_cross_pairs": 2**47}, "140,737,488,355,328 cross pairs"),
        ({"n_cross_pairs": 2}, "2 cross pairs"),
    ],
)
def test_targets_that_cannot_be_are_refused(
    captured: Captured, tmp_path: Path, changes: dict[str, int | None], message: str
) -> None:
    """Catches counts that are believed: arrays that are read past the end of their rows."""
    folder = shutil.copytree(captured.folder, tmp_path / "store")
    content = read_content(folder)
    for key, value in changes.items():
        if value is None:
            del content["segments"][0][key]
        else:
            content["segments"][0][key] = value
    write_sealed(folder, content)
    with pytest.raises(StoreDamagedError, match=message):
        open_store(folder)


def test_shapes_that_the_files_deny_are_refused(captured: Captured, tmp_path: Path) -> None:
    """Catches a smaller vocabulary than k, and a k that the file has no room for."""
    folder = shutil.copytree(captured.folder, tmp_path / "store")
    alter(folder, (("teacher", "n_labels"), K - 1))
    with pytest.raises(StoreDamagedError, match="the teacher has no such vocabulary for logits/to"):
        open_store(folder)
    content = read_content(captured.folder)
    arrays = content["segments"][0]["arrays"]
    arrays["logits/top-8"] = arrays.pop(f"logits/top-{K}")
    write_sealed(folder, content)
    with pytest.raises(StoreDamagedError, match=r"logits/top-8 has \d+ bytes, its shape \(\d+,\)"):
        open_store(folder)


def test_a_row_table_of_other_targets_is_refused(captured: Captured, tmp_path: Path) -> None:
    """Catches rows whose targets begin where the manifest's sums do not allow."""
    folder = shutil.copytree(captured.folder, tmp_path / "store")
    segment = read_manifest(folder).segments[0]
    table = read_row_table(folder, segment)
    assert table.n_targets is not None
    place, name = ("segments", 0, "rows"), "rows/00000.arrow"

    def change(n_targets: NDArray[np.int64] | None) -> None:
        path = tmp_path / "rows.arrow"
        write_row_table(path, RowTable(table.keys, table.lengths, n_targets))
        replace_recorded(folder, name, place, path.read_bytes())

    swapped = table.n_targets.copy()
    swapped[:2] = swapped[1::-1]
    assert swapped.sum() == table.n_targets.sum()
    change(swapped)
    with pytest.raises(StoreDamagedError, match=r"and \d+ cross pairs, the manifest says \d+, "):
        open_store(folder).lengths.sum()
    change(np.array([-1, *table.n_targets[1:]]))
    with pytest.raises(StoreDamagedError, match="it has a row of -1 targets"):
        open_store(folder).lengths.sum()
    change(None)
    with pytest.raises(StoreDamagedError, match="its columns are key: fixed_size_binary"):
        open_store(folder).lengths.sum()
