"""Captures of a small token table, and what they compute and commit."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pipeline.core.fingerprint import digest_folder
from pipeline.core.processes import Processes
from pipeline.store.manifest import read_manifest
from pipeline.store.row_table import read_row_table
from pipeline.tasks import TASKS
from pipeline.teacher.capture import CaptureReport, capture
from pipeline.teacher.capture_settings import CaptureSettings
from pipeline.text.tokens import Tokens
from tests.conftest import make_tokens, write_csv

SEGMENT_ROWS = 12
LAYER_2 = {"attentions": {"layers": (2,)}}
LAYERS_2_AND_3 = {"attentions": {"layers": (2, 3)}}
Rows = list[tuple[str, str]]


def make_table(folder: Path, checkpoint: Path, train: Rows, validation: Rows) -> Tokens:
    write_csv(folder / "data" / "train.csv", train)
    write_csv(folder / "data" / "validation.csv", validation)
    return make_tokens(folder / "tokens", checkpoint, folder / "data")


class RunCapture(NamedTuple):
    """Captures with this teacher and these tokens unless told otherwise."""

    checkpoint: Path
    tokens: Tokens

    def __call__(
        self,
        store_dir: Path,
        signals: dict[str, Any] = LAYER_2,
        *,
        teacher: Path | None = None,
        tokens: Tokens | None = None,
        **options: Any,
    ) -> CaptureReport:
        return capture(
            teacher or self.checkpoint,
            tokens or self.tokens,
            TASKS["classification"],
            CaptureSettings.model_validate(
                {"segment_rows": SEGMENT_ROWS, "signals": signals, **options}
            ),
            store_dir,
            device=torch.device("cpu"),
            batch_tokens=64,
            processes=Processes(),
        )


@dataclass
class Seen:
    """What the teacher computed."""

    keys: list[bytes] = field(default_factory=list)
    """Of every row, in the order of the forwards."""
    arrays: set[str] = field(default_factory=set)
    n_batches: int = 0


def keys_of(tokens: Tokens) -> list[bytes]:
    return [key.tobytes() for split in tokens.splits.values() for key in split.keys]


def committed_keys(store_dir: Path) -> set[bytes]:
    segments = read_manifest(store_dir).segments
    return {
        key.tobytes() for segment in segments for key in read_row_table(store_dir, segment).keys
    }


def changed_files(before: dict[str, str], store_dir: Path) -> set[str]:
    """Return the files that are new, gone or different."""
    return {name for name, _ in before.items() ^ digest_folder(store_dir).items()}
