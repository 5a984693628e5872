"""What a capture finds out before it computes: its store's identity, and the teacher's files.

Nothing here needs torch, so that a plan of nothing takes no time.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.core.checkpoint import read_config
from pipeline.core.fingerprint import digest_config, digest_file, digest_weights
from pipeline.store.manifest import Identity, Manifest, read_manifest
from pipeline.store.spec import MANIFEST_NAME
from pipeline.tasks.task import Task
from pipeline.teacher.capture_settings import AskedPrecision
from pipeline.teacher.stored_teacher import has_weights, read_origin
from pipeline.teacher.versions import EXTRACTION
from pipeline.text.tokens import Tokens

if TYPE_CHECKING:
    import torch

Precision = Literal["float32", "bfloat16", "float16"]

_TOKENIZER_FILES = frozenset(
    ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
)
_TEACHER_FILES = ("config.json", "generation_config.json", *sorted(_TOKENIZER_FILES))


def begun_from(store_dir: Path, teacher_dir: Path) -> Path:
    """Return the store that a capture adds to: its own, or the one that it begins with."""
    origin = read_origin(teacher_dir)
    is_begun = (store_dir / MANIFEST_NAME).is_file()
    return store_dir if origin is None or is_begun else origin.store_dir


def has_stored_tokenizer(teacher_dir: Path, store: Manifest) -> bool:
    """Say whether the files of a teacher's tokenizer are those that a store has copies of."""
    files = store.teacher_files
    kept = {name: files[name].sha256 for name in _TOKENIZER_FILES & files.keys()}
    own = {name for name in _TOKENIZER_FILES if (teacher_dir / name).is_file()}
    return (
        "tokenizer.json" in own
        and own == kept.keys()
        and all(digest_file(teacher_dir / name) == kept[name] for name in own)
    )


def identify(teacher_dir: Path, tokens: Tokens, task: Task, precision: Precision) -> Identity:
    """Return the identity of a store that this teacher's signals of these tokens go into."""
    origin = read_origin(teacher_dir)
    if origin is not None and not has_weights(teacher_dir):
        weights = origin.identity.weights
    else:
        weights = digest_weights(teacher_dir)
    return Identity(
        task=task.kind,
        labels=tokens.labels,
        weights=weights,
        config=digest_config(read_config(teacher_dir)),
        tokenizer=tokens.tokenizer,
        max_length=tokens.max_length,
        precision=precision,
        extraction=EXTRACTION,
    )


def choose_precision(
    asked: AskedPrecision, store_dir: Path, device: "Callable[[], torch.device]"
) -> Precision:
    """Return the number format of the forward; `auto` is an existing store's.

    Only a new store's depends on the `device`, which is looked for then.
    """
    if asked == "auto" and (store_dir / MANIFEST_NAME).is_file():
        return read_manifest(store_dir).identity.precision
    if asked == "auto":
        return "bfloat16" if device().type == "cuda" else "float32"
    return asked


def teacher_files(teacher_dir: Path, *, with_weights: bool) -> dict[str, Path]:
    """Return, by name, the files of a teacher that its store carries copies of."""
    files = [teacher_dir / name for name in _TEACHER_FILES if (teacher_dir / name).is_file()]
    if with_weights:
        files += sorted(teacher_dir.glob("*.safetensors"))
        files += sorted(teacher_dir.glob("*.safetensors.index.json"))
    return {path.name: path for path in files}
