"""The folders of a store above its arrays, which are Zarr groups, and the files that say so."""

from collections.abc import Iterable
from pathlib import Path

from pipeline.core.atomic import write_file
from pipeline.store.manifest import Manifest
from pipeline.store.presence import Absent
from pipeline.store.spec import GROUP_BYTES, GROUP_NAME, ArraySpec, group_folders


def make_groups(store_dir: Path, arrays: Iterable[ArraySpec]) -> None:
    """Make every folder above these arrays a Zarr group."""
    for name in sorted(group_folders(arrays)):
        path = store_dir / name / GROUP_NAME
        if not path.exists():
            write_file(path, GROUP_BYTES)


def group_files(manifest: Manifest, absent: Absent | None = None) -> list[str]:
    """Return every group's `zarr.json`, the store's own first, relative to the store.

    Of arrays that are `absent` everywhere there need be none.
    """
    arrays = {
        array
        for segment in manifest.segments
        for array, _ in segment.specs()
        if absent is None or segment.name not in absent.arrays.get(array.name, ())
    }
    return [GROUP_NAME, *(f"{folder}/{GROUP_NAME}" for folder in sorted(group_folders(arrays)))]
