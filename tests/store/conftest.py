"""Stores that many tests read: two segments of five rows, and one of masked rows."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.store.masked_store import Captured
from tests.store.small_store import Sample, new_sample


@pytest.fixture(scope="session")
def first_sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """The store that tests get copies of; not to be changed."""
    sample = new_sample(tmp_path_factory.mktemp("first") / "store")
    sample.add([3, 1])
    sample.add([2, 4, 1])
    return sample


@pytest.fixture
def sample(first_sample: Sample, tmp_path: Path) -> Sample:
    """A store of two segments with five rows, open for writing."""
    folder = shutil.copytree(first_sample.folder, tmp_path / "store")
    lengths, rows = list(first_sample.lengths), list(first_sample.rows)
    sample = replace(first_sample, folder=folder, lengths=lengths, rows=rows)
    sample.reopen()
    return sample


@pytest.fixture(scope="session")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Captured:
    """A store of masked rows; not to be changed."""
    return Captured(tmp_path_factory.mktemp("masked"))
