"""Files that lie in a store and that its manifest does not account for: what a writer has left."""

import os
import shutil
from pathlib import Path

from pipeline.core.atomic import PARTIAL_SUFFIX
from pipeline.store.groups import group_files
from pipeline.store.manifest import Manifest
from pipeline.store.spec import MANIFEST_NAME, ROWS_FOLDER, SIGNAL_FOLDERS, STORE_FOLDERS

PARTIAL_FOLDER = ".partial"
"""Holds what is being written."""
FINISHED_FOLDER = ".finished"
"""Holds the records of segments that were finished beside the main writer."""


def drop_unfinished(store_dir: Path, manifest: Manifest) -> None:
    """Remove what a stopped writer left: every file that the manifest does not account for."""
    shutil.rmtree(store_dir / PARTIAL_FOLDER, ignore_errors=True)
    (store_dir / (MANIFEST_NAME + PARTIAL_SUFFIX)).unlink(missing_ok=True)
    for path in unaccounted_files(store_dir, manifest):
        path.unlink()
    for folder_name in (ROWS_FOLDER, *SIGNAL_FOLDERS):
        for parent, _, _ in os.walk(store_dir / folder_name, topdown=False):
            if parent != str(store_dir / folder_name) and not any(Path(parent).iterdir()):
                Path(parent).rmdir()


def unaccounted_files(store_dir: Path, manifest: Manifest) -> list[Path]:
    """Return the files in a store's folders that the manifest does not account for."""
    known = {name for name, _ in manifest.files()} | set(group_files(manifest))
    found = [
        Path(parent, name)
        for folder in STORE_FOLDERS
        if not (store_dir / folder).is_symlink()
        for parent, folders, files in os.walk(store_dir / folder)
        for name in [*files, *folders]
    ]
    return sorted(
        path
        for path in found
        if (path.is_symlink() or not path.is_dir())
        and path.relative_to(store_dir).as_posix() not in known
    )
