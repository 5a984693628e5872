"""Stores that earlier versions of this code wrote are read for ever.

A store of each format version is committed below `golden`, with the numbers that must
be read from it beside it. They are not made again when the code changes.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.fingerprint import digest_folder
from pipeline.signals.cls import MOMENTS
from pipeline.store.reader import TeacherStore, open_store
from pipeline.store_tools.verify import verify_store
from tests.store.altered import flip
from tests.store.full_store import FULL, full_store

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = ("v1",)


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """A format version."""
    return str(request.param)


def read_numbers(version: str) -> dict[str, Any]:
    numbers: dict[str, Any] = json.loads((GOLDEN / f"{version}.json").read_bytes())
    return numbers


def read_all(store: TeacherStore) -> dict[str, np.ndarray]:
    """Return every array's decoded values, flat, and the moments of the whole store."""
    rows = range(len(store))
    values = {array.name: store.read(array, rows).decode() for array in FULL if array != MOMENTS}
    flat = {name: part.double().numpy().ravel() for name, part in values.items()}
    moments = [part.double().numpy().ravel() for part in store.cls_moments()]
    return {**flat, "cls/moments": np.concatenate(moments)}


def test_a_store_of_an_earlier_version_is_read(version: str) -> None:
    """Catches a change after which stores that took days to capture are refused or misread."""
    numbers, store = read_numbers(version), open_store(GOLDEN / version)
    assert [key.tobytes().hex() for key in store.keys] == numbers["keys"]
    assert store.lengths.tolist() == numbers["lengths"] == [3, 1, 2, 2, 4]
    values = read_all(store)
    assert set(values) == set(numbers["values"]) == {array.name for array in FULL}
    for name, wanted in numbers["values"].items():
        assert len(set(wanted)) > 5, name
        # Both are exact, but for nine written digits and float32 sums.
        np.testing.assert_allclose(values[name], wanted, rtol=1e-6, atol=0, err_msg=name)


def test_a_store_of_an_earlier_version_is_whole(version: str, tmp_path: Path) -> None:
    """Catches a stricter check that calls every store of before damaged."""
    assert verify_store(GOLDEN / version, 1) == []
    store = shutil.copytree(GOLDEN / version, tmp_path / "store")
    flip(store / "attentions/01/00001/c/0", 5, 1)
    assert [damage.file for damage in verify_store(store, 1)] == ["attentions/01/00001/c/0"]


def test_the_bytes_of_a_chunk_never_change(tmp_path: Path) -> None:
    """Catches an encoding that is changed under the name it had.

    Metadata and row tables may be written otherwise by later libraries; chunks may not.
    """
    written = digest_folder(full_store(tmp_path / "store", tmp_path / "sources"))
    golden = digest_folder(GOLDEN / VERSIONS[-1])
    assert set(written) == set(golden)
    chunks = {name for name in golden if "/c/" in name}
    assert len(chunks) == 2 * len(FULL)
    assert {name: written[name] for name in chunks} == {name: golden[name] for name in chunks}
