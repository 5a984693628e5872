"""What SECURITY.md says can never happen by opening a store, beside test_hostile.py."""

import ast
import pickle
import re
from pathlib import Path

import pytest

from pipeline.core.errors import PipelineError
from pipeline.core.stamp import import_closure
from pipeline.store.manifest import read_manifest
from pipeline.store.reader import open_store
from pipeline.store_tools.verify import verify_store
from tests.imports import ROOT
from tests.store.altered import read_content, replace_file, write_sealed
from tests.store.small_store import Sample

FORBIDDEN = {"pickle", "marshal", "shelve", "dill", "joblib", "subprocess", "ctypes"}


def test_nothing_that_reads_a_store_can_run_code() -> None:
    """Catches a reader that unpickles, evaluates, or imports what a file names."""
    files = import_closure("pipeline.store.reader") | import_closure("pipeline.store_tools.verify")
    assert len(files) > 12
    for name in sorted(files):
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not {alias.name.split(".")[0] for alias in node.names} & FORBIDDEN, name
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in FORBIDDEN, name
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "__import__", "torch.load"), name
                assert called != "np.load" or "allow_pickle" not in ast.unparse(node), name


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.path, "ran")


@pytest.mark.parametrize("name", ["manifest.json", "rows/00000.arrow", "cls/00000/zarr.json"])
def test_a_pickle_in_the_place_of_a_file_is_not_opened(
    sample: Sample, tmp_path: Path, name: str
) -> None:
    """Catches code in a file that runs when a store is opened, read or verified."""
    mark = tmp_path / "ran"
    bomb = pickle.dumps(Bomb(mark))
    replace_file(sample.folder / name, bomb)
    with pytest.raises(PipelineError):
        open_store(sample.folder)
    if name != "manifest.json":
        assert [damage.file for damage in verify_store(sample.folder, 1)] == [name]
    assert not mark.exists()
    pickle.loads(bomb)
    assert mark.exists(), "the bomb is one"


@pytest.mark.parametrize(
    "name", ["../../outside", "/etc/passwd", "..", ".ssh", "a/b", "a\\x00b", "con\\nfig"]
)
def test_a_teacher_file_cannot_lie_outside(sample: Sample, name: str) -> None:
    """Catches a name in a manifest that is followed out of the store when it is copied."""
    name = name.encode().decode("unicode_escape")
    content = read_content(sample.folder)
    content["teacher_files"][name] = content["teacher_files"]["config.json"]
    write_sealed(sample.folder, content)
    with pytest.raises(PipelineError, match="is not a manifest of format version 1: teacher_files"):
        read_manifest(sample.folder)


def test_the_page_names_tests_that_exist() -> None:
    """Catches a promise whose test is gone."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:tests|pipeline)/[\w/]+\.py)`", text))
    assert len(named) >= 5
    assert all((ROOT / name).is_file() for name in named)
