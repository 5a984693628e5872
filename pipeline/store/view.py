"""The part of a store that one student reads, as a file that changes only with it.

A view is the store's manifest cut down to some arrays and to the segments that hold
the student's rows, with the digest of the token table it is joined with. Adding a
layer or rows that a student does not read leaves its view byte-identical, so DVC
does not train it again.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from pipeline.core.atomic import write_json
from pipeline.core.errors import StoreDamagedError, StoreIncompleteError, StoreMismatchError
from pipeline.signals.logits import logits_array
from pipeline.signals.signal import Array
from pipeline.store.manifest import Identity, Manifest, check_identity, read_manifest
from pipeline.store.row_table import read_row_table
from pipeline.tasks import TASKS
from pipeline.text.tokens import Tokens


class View(BaseModel):
    """A cut-down manifest and the token table it belongs with."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    tokens: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    manifest: Manifest
    others: dict[str, Manifest] = {}
    """Of other teachers' stores, by their folder: the part with the same rows' logits."""
    checkpoint: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Digest of the checkpoint that the student starts from, where it names one."""


def make_view(
    store_dir: Path,
    manifest: Manifest,
    tokens: Tokens,
    arrays: Iterable[Array],
    other_stores: Iterable[str] = (),
    checkpoint: str | None = None,
) -> View:
    """Cut `manifest` down to `arrays` and to the segments that hold rows of `tokens`.

    Of `other_stores`, folders of other teachers' stores, the logits are taken along;
    `checkpoint` is the digest of the one that the student starts from.

    Raises:
        StoreMismatchError: the tokens belong to another tokenizer, label set or length limit.
        StoreIncompleteError: an array was not captured, or rows are missing.
    """
    logits = logits_array(TASKS[manifest.identity.task].predicts)
    return View(
        tokens=tokens.digest,
        manifest=_cut(store_dir, manifest, tokens, arrays),
        others={
            folder: _cut(Path(folder), read_manifest(Path(folder)), tokens, [logits])
            for folder in sorted(other_stores)
        },
        checkpoint=checkpoint,
    )


def check_tokens(identity: Identity, tokens: Tokens, store_dir: Path) -> None:
    """Refuse a token table whose rows the store's teacher would not have seen so.

    Raises:
        StoreMismatchError: naming each differing field and both values.
    """
    asked = {
        "labels": tokens.labels,
        "tokenizer": tokens.tokenizer,
        "max_length": tokens.max_length,
    }
    check_identity(identity, identity.model_copy(update=asked), store_dir)


def check_view(view: View, tokens: Tokens, store_dir: Path) -> None:
    """Refuse a token table that changed after the view was made.

    Raises:
        StoreMismatchError: naming what differs.
    """
    check_tokens(view.manifest.identity, tokens, store_dir)
    for folder, other in view.others.items():
        check_tokens(other.identity, tokens, Path(folder))
    if view.tokens != tokens.digest:
        raise StoreMismatchError(
            f"the view was made for token table {view.tokens[:12]}, the table now is "
            f"{tokens.digest[:12]}. Run 'dvc repro select'."
        )


def _cut(store_dir: Path, manifest: Manifest, tokens: Tokens, arrays: Iterable[Array]) -> Manifest:
    check_tokens(manifest.identity, tokens, store_dir)
    names = sorted(array.name for array in arrays)
    wanted = np.unique(np.concatenate([split.keys for split in tokens.splits.values()]).view("S16"))
    is_found: NDArray[np.bool_] = np.zeros(len(wanted), dtype=bool)
    segments = []
    for segment in manifest.segments:
        is_here = np.isin(wanted, read_row_table(store_dir, segment).keys.view("S16"))
        is_found |= is_here
        if not is_here.any():
            continue
        absent = [name for name in names if name not in segment.arrays]
        if absent:
            raise StoreIncompleteError(
                f"{store_dir} holds {', '.join(sorted(manifest.array_names()))}, and lacks "
                f"{', '.join(absent)}. Add them under capture.signals and run "
                "'dvc repro capture'."
            )
        kept = {name: segment.arrays[name] for name in names}
        segments.append(segment.model_copy(update={"arrays": kept}))
    n_missing = int(np.count_nonzero(~is_found))
    if n_missing:
        raise StoreIncompleteError(
            f"{store_dir} lacks {n_missing:,} of the {len(wanted):,} distinct rows of the token "
            "table. Run 'dvc repro capture' to add them."
        )
    return manifest.model_copy(update={"segments": tuple(segments), "versions": {}})


def write_view(path: Path, view: View) -> None:
    """Write a view as a file; equal views are equal bytes."""
    write_json(path, view.model_dump(mode="json"))


def read_view(path: Path) -> View:
    """Return the view in a file.

    Raises:
        StoreIncompleteError: there is no such file.
        StoreDamagedError: it is not a view.
    """
    try:
        return View.model_validate_json(_read_bytes(path))
    except ValidationError as error:
        raise StoreDamagedError(
            f"{path} is not a view: {error.errors()[0]['msg']}. Run 'dvc repro select'."
        ) from error


def digest_view(path: Path) -> str:
    """Return the digest of the view in a file, which is not checked.

    Raises:
        StoreIncompleteError: there is no such file.
    """
    return hashlib.sha256(_read_bytes(path)).hexdigest()


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise StoreIncompleteError(f"{path}: no such view. Run 'dvc repro select'.") from None
