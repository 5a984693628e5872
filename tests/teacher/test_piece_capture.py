"""Capturing teachers of word pieces: sizes, settings, and a decoder's signals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM

from pipeline.core.errors import SettingsError, SignalError
from pipeline.models.head import load_trained
from pipeline.signals.signal import Array
from pipeline.signals.top_logits import LOG_SUM_EXP
from pipeline.store.reader import open_store
from pipeline.store.row_values import read_padded, read_ragged
from pipeline.store_tools.plan_text import describe_plan
from pipeline.store_tools.summary import folder_sizes
from pipeline.store_tools.verify import verify_store
from pipeline.tasks import TASKS
from pipeline.teacher.architecture import teacher_architecture
from pipeline.teacher.capture_settings import CaptureSettings, SignalsSettings
from pipeline.teacher.extract import Extractor
from pipeline.teacher.plan import make_plan
from pipeline.teacher.recompute import recompute
from pipeline.text.token_row import TokenRow
from pipeline.text.tokens import Tokens
from tests.asked_rows import decoded_rows, masked_rows
from tests.conftest import capture_store
from tests.piece_tokens import (
    N_PIECES,
    make_masked_teacher,
    make_piece_tokens,
    make_writing_teacher,
)
from tests.store.altered import replace_recorded

CPU = torch.device("cpu")
LENGTHS = ((9, 4), (3, 11), (6, 0), (1, 1), (14, 5), (7, 8))
"""Tokens that are read and written; one text is empty."""
SIGNALS: dict[str, Any] = {
    "logits": {"top_k": 6},
    "hidden_states": {"layers": (0, 2), "encoding": "float32"},
    "decoder_hidden_states": {"layers": (0, 3), "encoding": "float32"},
    "attentions": {"layers": (2,), "encoding": "float32"},
    "decoder_attentions": {"layers": (1, 3), "encoding": "float32"},
    "cross_attentions": {"layers": (2,), "heads": "mean", "encoding": "uint8_cbrt"},
}


class Writing:
    """A store of a BART, with its rows."""

    def __init__(self, folder: Path) -> None:
        self.teacher = make_writing_teacher(folder / "teacher")
        self.rows = decoded_rows(LENGTHS)
        self.tokens = make_piece_tokens(self.rows, self.teacher)
        self.folder = capture_store(
            folder / "store", self.teacher, self.tokens, signals=SIGNALS, segment_rows=4
        )

    def own(self, row: TokenRow) -> Any:
        """Return Transformers' own outputs for a row alone, with eager attention."""
        assert row.asked is not None and row.asked.decoder_ids is not None
        model = AutoModelForSeq2SeqLM.from_pretrained(self.teacher, attn_implementation="eager")
        with torch.no_grad():
            return model.eval()(
                input_ids=torch.from_numpy(row.ids.astype(np.int64))[None],
                decoder_input_ids=torch.from_numpy(row.asked.decoder_ids.astype(np.int64))[None],
                output_hidden_states=True,
                output_attentions=True,
            )


@pytest.fixture(scope="module")
def writing(tmp_path_factory: pytest.TempPathFactory) -> Writing:
    """Not to be changed."""
    return Writing(tmp_path_factory.mktemp("writing"))


def masked(folder: Path) -> tuple[Path, Tokens]:
    teacher = make_masked_teacher(folder / "teacher")
    return teacher, make_piece_tokens(masked_rows((9, 1, 30, 4, 12, 5)), teacher)


def test_a_decoders_signals_are_its_own(writing: Writing) -> None:
    """Catches states and maps of the encoder, of other layers, of padding, or transposed."""
    store = open_store(writing.folder)
    assert verify_store(writing.folder, 1) == []
    rows = store.find(writing.tokens.splits["train"].keys)
    values = read_ragged(store, rows)
    top = read_ragged(store, rows, ["logits/top-6", "logits/log_sum_exp"])
    close = {"rtol": 1e-4, "atol": 1e-5}  # float32 in batches of other shapes
    n_checked = 0
    for place, row in enumerate(writing.rows):
        assert row.asked is not None
        if not len(row.asked.pieces):
            assert values["hidden_states/decoder-03"][place].shape == (0, 16)
            assert values["attentions/cross-02-mean"][place].shape == (0, len(row.ids))
            continue
        own = writing.own(row)
        expected: dict[str, Tensor] = {
            "hidden_states/02": own.encoder_hidden_states[2][0],
            "hidden_states/decoder-00": own.decoder_hidden_states[0][0],
            "hidden_states/decoder-03": own.decoder_hidden_states[3][0],
            "attentions/02": own.encoder_attentions[1][0],
            "attentions/decoder-01": own.decoder_attentions[0][0],
            "attentions/decoder-03": own.decoder_attentions[2][0],
        }
        for name, tensor in expected.items():
            torch.testing.assert_close(values[name][place], tensor, **close)
        cross = values["attentions/cross-02-mean"][place]
        # 0.0059 is the most that the encoding is off by before a row is divided by its sum
        torch.testing.assert_close(cross, own.cross_attentions[1][0].mean(0), rtol=0, atol=0.02)
        torch.testing.assert_close(cross.sum(1), torch.ones(len(cross)))
        torch.testing.assert_close(
            top["logits/top-6"][place], own.logits[0].topk(6).values, **close
        )
        torch.testing.assert_close(
            top["logits/log_sum_exp"][place], own.logits[0].logsumexp(1), **close
        )
        n_checked += 1
    assert n_checked == 5
    padded = read_padded(store, rows, ["attentions/cross-02-mean", "attentions/decoder-01"])
    assert padded["attentions/cross-02-mean"].shape == (6, 11, 14)
    assert padded["attentions/decoder-01"].shape == (6, 4, 11, 11)


def test_the_plan_is_what_is_written(tmp_path: Path, writing: Writing) -> None:
    """Catches a plan whose bytes are not those of the capture."""
    masked_teacher, masked_tokens = masked(tmp_path)
    only = {"logits": {"top_k": 5, "encoding": "float16"}}
    for teacher, tokens, signals, kind, said in (
        (masked_teacher, masked_tokens, only, "masked_lm", "; 20 word pieces to predict"),
        (writing.teacher, writing.tokens, SIGNALS, "sequence_to_sequence", "; 29 word pieces to"),
    ):
        settings = CaptureSettings.model_validate({"signals": signals, "segment_rows": 4})
        task, store_dir = TASKS[kind], tmp_path / kind
        plan = make_plan(
            teacher, tokens, task, settings, store_dir, device=lambda: CPU, is_finetuned=True
        )
        text = describe_plan(plan)
        assert f"{N_PIECES} word pieces)" in text and said in text
        capture_store(store_dir, teacher, tokens, signals=signals, segment_rows=4)
        store = open_store(store_dir)
        assert folder_sizes(plan.planned) == folder_sizes(store.manifest)
        files = [path for path in store_dir.rglob("*") if path.is_file() and path.name != ".lock"]
        total = sum(path.stat().st_size for path in files)
        assert folder_sizes(plan.planned).total_bytes == total


@pytest.mark.parametrize(
    ("kind", "signals", "line"),
    [
        (
            "classification",
            {"logits": {"top_k": 4}},
            "capture.signals.logits.top_k: all logits of the task classification are captured, "
            "which are few. Leave it out.",
        ),
        (
            "sequence_to_sequence",
            {"cls": {"encoding": "float16"}},
            "capture.signals.cls: no head of a teacher for sequence_to_sequence reads one token's "
            "state. Set it to null.",
        ),
        (
            "masked_lm",
            {"cross_attentions": {"layers": (1, 2)}},
            "capture.signals.cross_attentions: the teacher (bert) has no decoder. Leave it out.",
        ),
        (
            "masked_lm",
            {"decoder_hidden_states": {"layers": (1,)}},
            "capture.signals.decoder_hidden_states: the teacher (bert) has no decoder. Leave it "
            "out.",
        ),
        (
            "sequence_to_sequence",
            {"decoder_attentions": {"layers": (0, 4)}},
            "capture.signals.decoder_attentions.layers: layer 4 does not exist, the teacher has "
            "layers 1 to 3",
        ),
    ],
)
def test_what_cannot_be_captured_is_said(
    writing: Writing, tmp_path: Path, kind: str, signals: dict[str, Any], line: str
) -> None:
    """Catches settings that are ignored, or that fail after the teacher was loaded."""
    has_decoder = kind == "sequence_to_sequence"
    folder = writing.teacher if has_decoder else make_masked_teacher(tmp_path)
    task = TASKS[kind]
    settings = SignalsSettings.model_validate({"logits": {"top_k": 4}, **signals})
    if kind == "classification":
        settings = SignalsSettings.model_validate(signals)
    assert line in settings.faults(task, teacher_architecture(folder, task))


def test_the_defaults_fit_every_task(writing: Writing) -> None:
    """Catches a [CLS] that is asked of a decoder because nobody said otherwise."""
    names = {
        kind: [array.name for array in SignalsSettings().arrays(TASKS[kind])]
        for kind in ("classification", "masked_lm", "sequence_to_sequence")
    }
    top = ["logits/top-64", "logits/top-64-pieces", "logits/log_sum_exp", "logits/target"]
    assert names["classification"] == ["logits", "cls"]
    assert names["masked_lm"] == [*top, "cls"]
    assert names["sequence_to_sequence"] == top
    task = TASKS["sequence_to_sequence"]
    large = teacher_architecture(writing.teacher, task).model_copy(update={"n_labels": 65})
    assert SignalsSettings().faults(task, large) == []


def test_a_second_capture_has_nothing_to_do(writing: Writing) -> None:
    """Catches rows that are captured again, for example because a key leaves out what is asked."""
    before = {path: path.stat().st_mtime_ns for path in writing.folder.rglob("*.json")}
    capture_store(writing.folder, writing.teacher, writing.tokens, signals=SIGNALS, segment_rows=4)
    assert before == {path: path.stat().st_mtime_ns for path in writing.folder.rglob("*.json")}


def test_another_encoding_names_the_setting(writing: Writing) -> None:
    """Catches a refusal that names a setting that there is not."""
    signals = {**SIGNALS, "logits": {"top_k": 6, "encoding": "float16"}}
    with pytest.raises(SettingsError, match=r"^capture\.signals\.logits\.encoding: .*logits/top-6"):
        capture_store(writing.folder, writing.teacher, writing.tokens, signals=signals)


def test_a_diverged_teacher_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a row that is not the one whose targets are not finite."""
    teacher, tokens = masked(tmp_path)
    raw = Extractor.raw
    ids = tokens.splits["train"].row(3).ids

    def is_spoiled(row: TokenRow) -> bool:
        return np.array_equal(row.ids, ids)

    def spoiled(self: Extractor, rows: list[TokenRow]) -> Any:
        values = raw(self, rows)
        counts = [len(row.asked.pieces) if row.asked else 0 for row in rows]
        places = [sum(counts[:number]) for number, row in enumerate(rows) if is_spoiled(row)]
        values[Array(LOG_SUM_EXP)] = values[Array(LOG_SUM_EXP)].clone()
        values[Array(LOG_SUM_EXP)][places] = torch.nan
        return values

    monkeypatch.setattr(Extractor, "raw", torch.inference_mode()(spoiled))
    with pytest.raises(SignalError, match=r"^row 4 of train, log_sum_exp: 1 values are not finite"):
        capture_store(tmp_path / "store", teacher, tokens, signals={"logits": {"top_k": 5}})


def test_an_honest_store_is_found_so_and_another_is_not(writing: Writing, tmp_path: Path) -> None:
    """Catches a comparison that no store of pieces passes, or that every one does."""
    masked_teacher, masked_tokens = masked(tmp_path)
    signals = {"logits": {"top_k": 5, "encoding": "bfloat16"}}
    masked_store = capture_store(tmp_path / "store", masked_teacher, masked_tokens, signals=signals)
    for store_dir, teacher, tokens, kind in (
        (masked_store, masked_teacher, masked_tokens, "masked_lm"),
        (writing.folder, writing.teacher, writing.tokens, "sequence_to_sequence"),
    ):
        found = recompute(open_store(store_dir), teacher, tokens, TASKS[kind], 6, CPU)
        assert len(found) >= 5 and max(part.worst for part in found) <= 1, found
        assert sum(part.largest > 0 for part in found) >= len(found) - 1  # pieces are the same
    store = open_store(masked_store)
    load_trained(masked_teacher, TASKS["masked_lm"])
    name = "logits/top-5-pieces"
    (segment,) = store.manifest.segments
    path = f"{name}/{segment.name}/c/0"
    data = (masked_store / path).read_bytes()
    pieces = np.frombuffer(data[:-4], "<i4").reshape(-1, 5).copy()
    pieces[:, 2] = [next(p for p in range(N_PIECES) if p not in row) for row in pieces]
    place = ("segments", 0, "arrays", name, "chunk")
    replace_recorded(masked_store, path, place, pieces.tobytes() + data[-4:])
    again = recompute(
        open_store(masked_store), masked_teacher, masked_tokens, TASKS["masked_lm"], 6, CPU
    )
    worst = {part.array: part.worst for part in again}
    assert worst.pop(name) > 10 and worst.pop("logits/top-5") > 10
    assert max(worst.values()) <= 1
