"""Which files and folders of a store are to be brought, relative to the store.

A folder stands for all files below it. What every reader needs comes first; then the
arrays of a student's view, or those that are named.
"""

from collections.abc import Iterable

from pipeline.core.errors import StoreIncompleteError
from pipeline.signals.cls import CLS_STATES, MOMENTS
from pipeline.signals.signal import Array
from pipeline.store.files import is_weights
from pipeline.store.manifest import Manifest
from pipeline.store.spec import (
    GROUP_NAME,
    MANIFEST_NAME,
    ROWS_FOLDER,
    SIGNAL_FOLDERS,
    TEACHER_FOLDER,
    array_folder,
    group_folders,
    parse_array_name,
)

ALWAYS = (MANIFEST_NAME, GROUP_NAME, ROWS_FOLDER)
"""What every reader of a store needs, before it is known what else."""


def teacher_paths(manifest: Manifest, *, with_weights: bool) -> list[str]:
    """Return the teacher's config and tokenizer, and its weights where they are wanted."""
    return [
        f"{TEACHER_FOLDER}/{name}"
        for name in sorted(manifest.teacher_files)
        if with_weights or not is_weights(name)
    ]


def array_paths(manifest: Manifest, part: Manifest) -> list[str]:
    """Return what holds exactly the arrays and segments of `part`, a cut of `manifest`.

    An array that is wanted of all segments is one folder, others are one for each segment.
    """
    wanted: dict[Array, list[str]] = {}
    for segment in part.segments:
        for array, _ in segment.specs():
            wanted.setdefault(array, []).append(segment.name)
    paths = [f"{folder}/{GROUP_NAME}" for folder in sorted(group_folders(wanted))]
    for array, segments in sorted(wanted.items()):
        n_all = sum(array.name in segment.arrays for segment in manifest.segments)
        if len(segments) == n_all and array.axis.is_ragged:
            paths.append(array.name)
        elif len(segments) == n_all and array == CLS_STATES and MOMENTS in wanted:
            paths.append(CLS_STATES.name)
        elif len(segments) == n_all and array != CLS_STATES and array != MOMENTS:
            paths.append(array.name)
        else:
            paths += [array_folder(array, name) for name in segments]
    return paths


def named_arrays(manifest: Manifest, signals: Iterable[str]) -> Manifest:
    """Return `manifest` cut down to the named arrays, in every segment that has them.

    A name is that of an array (`attentions/06`) or of all of a signal (`attentions`); the
    moments of [CLS] go with `cls`.

    Raises:
        StoreIncompleteError: none was captured under a name.
        ValueError: there is no such array in any store.
    """
    names: set[str] = set()
    held = sorted({name for segment in manifest.segments for name in segment.arrays})
    for signal in signals:
        if signal not in SIGNAL_FOLDERS:
            parse_array_name(signal)
        found = {name for name in held if name == signal or name.split("/")[0] == signal}
        if not found:
            raise StoreIncompleteError(
                f"'{signal}' was never captured; the store has {', '.join(held)}. Ask who "
                "captured it to add it under capture.signals."
            )
        names |= found
    segments = tuple(
        segment.model_copy(
            update={"arrays": {name: segment.arrays[name] for name in names & set(segment.arrays)}}
        )
        for segment in manifest.segments
    )
    return manifest.model_copy(update={"segments": segments})
