"""A captured store of masked rows, with its teacher."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.models.head import load_trained
from pipeline.store.reader import TeacherStore, open_store
from pipeline.tasks import TASKS
from pipeline.text.token_row import TokenRow
from tests.asked_rows import masked_rows
from tests.conftest import capture_store
from tests.piece_tokens import make_masked_teacher, make_piece_tokens

K = 7
LENGTHS = (1, 9, 4, 30, 1, 12, 2, 5, 17)
"""Rows of one token ask for nothing."""
SIGNALS: dict[str, Any] = {
    "logits": {"top_k": K},
    "hidden_states": {"layers": (0, 3), "encoding": "float32"},
}


class Captured:
    """A store of masked rows, with its teacher."""

    def __init__(self, folder: Path) -> None:
        self.teacher = make_masked_teacher(folder / "teacher")
        self.rows = masked_rows(LENGTHS)
        self.tokens = make_piece_tokens(self.rows, self.teacher)
        self.folder = capture_store(
            folder / "store", self.teacher, self.tokens, signals=SIGNALS, segment_rows=4
        )
        self.model = load_trained(self.teacher, TASKS["masked_lm"]).eval()

    def store(self) -> TeacherStore:
        return open_store(self.folder)

    def own_logits(self, row: TokenRow) -> Tensor:
        """Return the whole vocabulary's logits (target, piece) of a row alone."""
        ids = torch.from_numpy(row.ids.astype(np.int64))[None]
        with torch.no_grad():
            logits: Tensor = self.model(input_ids=ids).logits[0]
        assert row.asked is not None
        return logits[torch.from_numpy(row.asked.places).long()]
