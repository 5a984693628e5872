"""Stores of which only a part is here: what works, what is refused, and in which words."""

import pickle
import shutil
from pathlib import Path

import pytest

from pipeline.core.errors import StoreIncompleteError
from pipeline.signals.cls import CLS_STATES
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array
from pipeline.store.dataset import TeacherDataset
from pipeline.store.files import absent_files, check_present, check_weights
from pipeline.store.manifest import Manifest, read_manifest
from pipeline.store.reader import TeacherStore, open_store
from pipeline.store.row_values import array_names, read_ragged
from pipeline.store.spec import GROUP_BYTES
from pipeline.store.writer import open_store_for_writing
from pipeline.store_tools.repair import repair_store
from pipeline.store_tools.summary import describe_store, summarise_store
from pipeline.store_tools.verify import verify_store
from tests.stages.conftest import invoke
from tests.store.altered import flip
from tests.store.small_store import IDENTITY, MAPS_1, Sample, contents, keys_of, new_sample


@pytest.fixture
def partial(sample: Sample) -> Sample:
    """A store whose attention maps were not fetched at all, and [CLS] of one segment."""
    shutil.rmtree(sample.folder / "attentions")
    shutil.rmtree(sample.folder / "cls" / "00001")
    return sample


def test_what_is_here_can_be_read(partial: Sample) -> None:
    """Catches a part of a store that nobody can open."""
    store = open_store(partial.folder)
    assert store.logits(store.find(keys_of(range(5))).tolist()).shape == (5, 2)
    assert store.cls([0, 1]).shape == (2, 3, 4)
    assert array_names(store) == ["logits"]
    assert set(read_ragged(store, [4])) == {"logits"}
    assert pickle.loads(pickle.dumps(store)).logits([1]).equal(store.logits([1]))


@pytest.mark.parametrize(
    ("array", "rows", "said"),
    [
        (MAPS_1, [0], "'attentions/01' was captured, but is not here for 2 of 2 segments"),
        (CLS_STATES, [0, 3], "'cls' was captured, but is not here for 1 of 2 segments"),
    ],
)
def test_what_is_absent_is_refused(
    partial: Sample, array: Array, rows: list[int], said: str
) -> None:
    """Catches a missing file that is a traceback, or a signal that is said not to exist."""
    store = open_store(partial.folder)
    name = said.split("'")[1]
    with pytest.raises(StoreIncompleteError) as caught:
        store.read(array, rows)
    assert str(caught.value) == (
        f"{partial.folder} is partial: {said}. Run 'decant fetch {partial.folder} --signal "
        f"{name}' to bring it."
    )
    with pytest.raises(StoreIncompleteError, match=f"is partial: '{name}' was captured"):
        TeacherDataset([], store, signals=[name])


def test_a_view_of_what_is_absent_is_refused_at_once(partial: Sample) -> None:
    """Catches a training that finds in its middle that a layer was not fetched."""
    manifest = read_manifest(partial.folder)
    with pytest.raises(StoreIncompleteError, match="'attentions/01' was captured, but is not here"):
        TeacherStore(partial.folder, manifest)
    assert len(TeacherStore(partial.folder, _only_logits(manifest))) == 5


def _only_logits(manifest: Manifest) -> Manifest:
    segments = [
        segment.model_copy(update={"arrays": {"logits": segment.arrays[Array(LOGITS).name]}})
        for segment in manifest.segments
    ]
    return manifest.model_copy(update={"segments": tuple(segments)})


def test_nothing_is_added_to_a_part(partial: Sample) -> None:
    """Catches a capture that drops what others have, or computes it again."""
    before = contents(partial.folder)
    with pytest.raises(StoreIncompleteError) as caught:
        open_store_for_writing(partial.folder, IDENTITY)
    assert str(caught.value) == (
        f"{partial.folder} is partial: attentions/01 of 2 of 2 segments, cls of 1 of 2 segments "
        f"not here, and nothing can be added to a part. Run 'decant fetch {partial.folder} "
        "--signal attentions/01 --signal cls' to bring the rest; where nobody has it, 'decant "
        f"repair --absent {partial.folder}' has it captured again."
    )
    assert contents(partial.folder) == before


def test_a_part_is_told_from_damage(partial: Sample) -> None:
    """Catches a part that is called damaged, and damage that passes for a part."""
    result = invoke("verify", str(partial.folder))
    assert result.exit_code == 0
    assert f"verify: {partial.folder} is partial, and what is here is whole: " in result.stdout
    assert (
        "Not fetched: attentions/01 of 2 of 2 segments, cls of 1 of 2 segments; 'decant fetch "
        f"{partial.folder} --signal attentions/01 --signal cls' brings it." in result.stdout
    )
    flip(partial.folder / "logits/00001/c/0/0", 5, 3)
    (damage,) = verify_store(partial.folder, 1)
    assert damage.file == "logits/00001/c/0/0"
    assert invoke("verify", str(partial.folder)).exit_code == 1


@pytest.mark.parametrize("name", ["cls/00000/c/0/0/0", "cls/00000/zarr.json", "rows/00000.arrow"])
def test_half_of_an_array_is_a_fault(partial: Sample, name: str) -> None:
    """Catches a pull that was stopped within an array, or lost its rows, taken for a part."""
    (partial.folder / name).unlink()
    with pytest.raises(StoreIncompleteError, match=f"lacks 1 files, the first is {name}"):
        open_store(partial.folder)
    assert [damage.file for damage in verify_store(partial.folder, 1)] == [name]


def test_inspect_says_what_is_absent(partial: Sample) -> None:
    """Catches a summary that promises arrays which are not here."""
    summary = summarise_store(partial.folder)
    assert summary["absent"]["arrays"] == {"attentions/01": 2, "cls": 1}
    text = describe_store(summary)
    assert text.splitlines()[-2:] == [
        "PARTIAL: not fetched: attentions/01 of 2 of 2 segments, cls of 1 of 2 segments",
        f"'decant fetch {partial.folder} --signal attentions/01 --signal cls' brings it.",
    ]
    here = sum(len(data) for name, data in contents(partial.folder).items() if name != ".lock")
    groups = 2 * len(GROUP_BYTES)  # of `attentions` and `attentions/01`
    assert here + groups == summary["size_bytes"] - summary["absent"]["size_bytes"]


def test_repair_leaves_a_part_a_part(partial: Sample) -> None:
    """Catches a repair that makes others' arrays be computed again, and one that never can."""
    manifest = read_manifest(partial.folder)
    assert repair_store(partial.folder, 1).damages == []
    assert read_manifest(partial.folder) == manifest
    repair = repair_store(partial.folder, 1, drops_absent=True)
    assert (repair.n_arrays, repair.n_segments) == (3, 0)
    assert not check_present(partial.folder, read_manifest(partial.folder)).is_partial
    assert open_store_for_writing(partial.folder, IDENTITY) is not None


def test_weights_may_be_absent(tmp_path: Path) -> None:
    """Catches a store without its teacher's weights that cannot be read, or a start from none."""
    sample = new_sample(tmp_path / "store")
    sample.add([3])
    source = tmp_path / "model.safetensors"
    source.write_bytes(b"weights")
    sample.writer.add_teacher_files({source.name: source})
    (sample.folder / "teacher" / source.name).unlink()
    manifest = read_manifest(sample.folder)
    assert len(TeacherStore(sample.folder, manifest)) == 1
    assert absent_files(sample.folder, manifest).weights == (source.name,)
    with pytest.raises(
        StoreIncompleteError, match=r"are not here\. Run 'decant fetch .* --weights"
    ):
        check_weights(sample.folder, manifest)
    with pytest.raises(StoreIncompleteError, match="the teacher's weights not here"):
        open_store_for_writing(sample.folder, IDENTITY)
