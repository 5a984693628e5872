"""What is to be brought of a store: all of it that is read, and nothing else."""

import shutil
from pathlib import Path

import pytest

from pipeline.core.errors import StoreIncompleteError
from pipeline.share.wanted import ALWAYS, array_paths, named_arrays, teacher_paths
from pipeline.store.files import check_present
from pipeline.store.manifest import Manifest, read_manifest
from pipeline.store.reader import TeacherStore
from pipeline.store.spec import group_folders, parse_array_name
from pipeline.store_tools.verify import verify_store
from tests.store.full_store import full_store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of two segments with every signal."""
    return full_store(tmp_path / "store", tmp_path / "sources")


def cut(manifest: Manifest, names: set[str], segments: slice) -> Manifest:
    """Return what a view of these arrays and segments says of the store."""
    kept = [
        segment.model_copy(update={"arrays": {name: segment.arrays[name] for name in names}})
        for segment in manifest.segments[segments]
    ]
    return manifest.model_copy(update={"segments": tuple(kept)})


def bring(store: Path, paths: list[str], target: Path) -> Path:
    """Copy these files and folders, as DVC would."""
    for path in paths:
        if (store / path).is_dir():
            shutil.copytree(store / path, target / path, dirs_exist_ok=True)
        else:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store / path, target / path)
    return target


ALL = slice(None)
VIEWS = {
    "logits": ({"logits"}, ALL),
    "cls without its moments": ({"logits", "cls"}, ALL),
    "cls with its moments": ({"logits", "cls", "cls/moments"}, ALL),
    "one layer": ({"attentions/02"}, ALL),
    "two kinds of a layer, of one segment": ({"attentions/02", "attentions/02-mean"}, slice(1, 2)),
    "states of one segment": ({"hidden_states/00", "logits"}, slice(0, 1)),
}


@pytest.mark.parametrize("kind", VIEWS)
def test_exactly_the_files_of_a_view(store: Path, tmp_path: Path, kind: str) -> None:
    """Catches files that are downloaded for nothing, and a part that cannot be read."""
    names, segments = VIEWS[kind]
    manifest = read_manifest(store)
    part = cut(manifest, names, segments)
    paths = [*ALWAYS, *teacher_paths(manifest, with_weights=False), *array_paths(manifest, part)]
    brought = bring(store, paths, tmp_path / "brought")
    opened = TeacherStore(brought, part)
    for name in names - {"cls/moments"}:
        assert opened.read(parse_array_name(name), [0]).values.numel()
    rows = {name for name, _ in manifest.files() if name.startswith("rows/")}
    wanted = {name for name, _ in part.files()} | rows
    found = {p.relative_to(brought).as_posix() for p in brought.rglob("*") if p.is_file()}
    groups = {f"{folder}/zarr.json" for folder in group_folders(map(parse_array_name, names))}
    assert found == wanted | groups | {"manifest.json", "zarr.json"}
    assert verify_store(brought, 1) == []
    assert check_present(brought, manifest).is_partial


def test_signals_by_name(store: Path) -> None:
    """Catches a name that brings another layer, and one that brings nothing in silence."""
    manifest = read_manifest(store)

    def named(*signals: str) -> set[str]:
        return {name for part in named_arrays(manifest, signals).segments for name in part.arrays}

    assert named("cls") == {"cls", "cls/moments"}
    assert named("attentions/02", "logits") == {"attentions/02", "logits"}
    assert named("attentions") == {"attentions/01", "attentions/02", "attentions/02-mean"}
    assert named() == set()
    with pytest.raises(StoreIncompleteError, match=r"'hidden_states/01' was never captured; the"):
        named("hidden_states/01")
    with pytest.raises(ValueError, match="'attention/02' is not an array of format version 1"):
        named("attention/02")
