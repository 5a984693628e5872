"""Students that cannot be trained, refused in one line before anything is.

Where the teacher is known, `check_params` refuses them before any stage runs. A teacher from the
Hub is not known then; what `select` does with the store refuses them instead.
"""

from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import PipelineError, SettingsError
from pipeline.core.settings import faults_at, parse_section
from pipeline.project.check import check_params
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array
from pipeline.store.manifest import read_manifest
from pipeline.store.view import make_view
from pipeline.student.model import model_of, models_of
from pipeline.text.tokens import Tokens
from pipeline.train.settings import StudentSettings, check_batches, training_of
from tests.small_project import PARAMS
from tests.train.other_tokens import make_student_checkpoint

PLACE = "students.a"
LAYERS = {"n_layers": 2}
NARROW = {**LAYERS, "hidden_size": 8, "warm_start": "none"}
CNN = {"architecture": "text_cnn"}
BILSTM = {"architecture": "bilstm"}
OWN = {"checkpoint": "own"}
SIMILARITY = {"similarity": {}}

WIDTHS = (
    "compares states of 8 numbers (student) with states of 16 (teacher). Set projection: true to "
    "learn a map between them"
)
TOKENS = (
    "token by token, but the student has another tokenizer than the teacher. Use objectives of "
    "whole examples (logits, [CLS]), or a student checkpoint with the teacher's tokenizer"
)
GIVES = "student does not have; it gives logits, [CLS] states. Take this objective out"
GIVES_POOLING = (
    "student does not have; it gives logits, [CLS] states, attention pooling. Take this objective "
    "out"
)

OF_MODELS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "maps of a CNN": (
        CNN,
        {"attentions": {"layer_map": [[1, 2]]}},
        f"objectives.attentions: compares attention maps, which a text_cnn {GIVES}",
    ),
    "tokens of a CNN": (
        CNN,
        {"hidden_states": {}},
        f"objectives.hidden_states: compares hidden states of tokens, which a text_cnn {GIVES}",
    ),
    "tokens of a BiLSTM": (
        BILSTM,
        {"hidden_states": {}},
        f"objectives.hidden_states: compares hidden states of tokens, which a bilstm "
        f"{GIVES_POOLING}",
    ),
    "layer map of one layer": (
        CNN,
        {"cls": {"projection": True}},
        "objectives.cls: layer map 'skip' has no pair for a student of 1 layers and a teacher of "
        "4; give pairs [[student, teacher], ...]",
    ),
    "embedding output of a CNN": (
        CNN,
        {"cls": {"projection": True, "layer_map": [[0, 2]]}},
        "objectives.cls: layer map pairs student layer 0 with teacher layer 2, but the student "
        "has hidden states 1..1",
    ),
    "unequal [CLS]": (NARROW, {"cls": {}}, f"objectives.cls: {WIDTHS}"),
    "unequal states": (NARROW, {"hidden_states": {}}, f"objectives.hidden_states: {WIDTHS}"),
    "unequal adversaries": (NARROW, {"adversarial": {}}, f"objectives.adversarial: {WIDTHS}"),
    "heads that differ": (
        NARROW,
        {"attentions": {}},
        "objectives.attentions: compares maps of 2 heads (student) with maps of 4 (teacher). Set "
        "heads: mean",
    ),
    "maps of other tokens": (
        OWN,
        {"attentions": {"heads": "mean"}},
        f"objectives.attentions: compares attention maps {TOKENS}",
    ),
    "states of other tokens": (
        OWN,
        {"hidden_states": {"projection": True}},
        f"objectives.hidden_states: compares hidden states of tokens {TOKENS}",
    ),
    "widths that are no multiple": (
        {**NARROW, "n_heads": 3},
        {"hard_label": {}},
        "model.hidden_size: 8 is not a multiple of 3 heads; change it or n_heads",
    ),
    "a warm start of narrower layers": (
        {**NARROW, "warm_start": "heads"},
        {"hard_label": {}},
        "model.warm_start: 'heads' copies tensors of the teacher, which do not fit layers of other "
        "widths; set it to none",
    ),
    "no filters": (
        {**CNN, "n_filters": 0},
        {"hard_label": {}},
        "model.n_filters: should be greater than or equal to 1, got 0",
    ),
    "a dropout of everything": (
        {**BILSTM, "dropout": 1.0},
        {"hard_label": {}},
        "model.dropout: should be less than 1, got 1.0",
    ),
}
"""Model, objectives and the line, by name."""


@pytest.fixture
def params(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings as `even_store` was captured with, and a checkpoint `own` to start from."""
    monkeypatch.chdir(tmp_path)
    make_student_checkpoint(tmp_path / "own")
    return {
        **PARAMS,
        "tokenizer": {"checkpoint": str(checkpoint), "max_length": 64},
        "teacher": {"checkpoint": str(checkpoint)},
        "capture": {
            "signals": {"hidden_states": {"layers": [2, 4]}, "attentions": {"layers": [2, 4]}}
        },
    }


def checked(params: dict[str, Any], student: dict[str, Any]) -> str:
    """Return the one line with which `check_params` refuses a student."""
    with pytest.raises(SettingsError) as caught:
        check_params({**params, "students": {"a": student}})
    (fault,) = caught.value.faults
    return fault.removeprefix("params.yaml: ")


def selected(params: dict[str, Any], student: dict[str, Any], store: Path, tokens: Tokens) -> str:
    """Return the one line with which what `select` and `distill` begin with refuses a student."""
    with pytest.raises(PipelineError) as caught:
        settings = parse_section(StudentSettings, student, PLACE)
        model, manifest = model_of(settings.model, PLACE), read_manifest(store)
        with faults_at(PLACE):
            needs = settings.objectives.needs(models_of(model, manifest))
            training = training_of(params, settings, PLACE)
            processes = (params.get("runtime") or {}).get("processes", 1)
            check_batches(settings.objectives, training, n_processes=processes)
        make_view(store, manifest, tokens, needs.teacher | {Array(LOGITS)}, needs.other_stores)
    assert not str(caught.value).count("\n")
    return str(caught.value)


@pytest.mark.parametrize("case", OF_MODELS)
def test_models_that_cannot_be_compared(
    params: dict[str, Any], even_store: Path, even_tokens: Tokens, case: str
) -> None:
    """Catches a training that fails at its first step, or trains on what means nothing."""
    model, objectives, fault = OF_MODELS[case]
    student = {"model": model, "objectives": objectives}
    assert checked(params, student) == f"{PLACE}.{fault}"
    assert selected(params, student, even_store, even_tokens) == f"{PLACE}.{fault}"


def test_a_layer_that_was_not_captured(
    params: dict[str, Any], even_store: Path, even_tokens: Tokens
) -> None:
    """Catches a student for which a layer is missing, found when it is read."""
    objectives = {"attentions": {"layer_map": [[1, 2], [2, 3]]}}
    student = {"model": LAYERS, "objectives": objectives}
    assert checked(params, student) == (
        f"{PLACE}.objectives.attentions needs attentions/03, but capture.signals asks only for "
        "logits, cls, hidden_states/02, hidden_states/04, attentions/02, attentions/04; add them "
        "there"
    )
    assert selected(params, student, even_store, even_tokens) == (
        f"{even_store} holds attentions/02, attentions/04, cls, cls/moments, logits, and lacks "
        "attentions/03. Add them under capture.signals and run 'dvc repro capture'."
    )


@pytest.mark.parametrize(
    ("training", "runtime", "parts"),
    [
        ({"micro_batch_size": 4}, {}, "in parts of 4 by 1 processes"),
        ({}, {"processes": 2}, "in parts of 16 by 2 processes"),
    ],
)
def test_batches_that_are_cut(
    params: dict[str, Any],
    even_store: Path,
    even_tokens: Tokens,
    training: dict[str, Any],
    runtime: dict[str, Any],
    parts: str,
) -> None:
    """Catches Gram matrices of parts of a batch, in which most pairs of rows are missing."""
    params["runtime"] = runtime
    student = {"model": LAYERS, "objectives": SIMILARITY, "training": training}
    line = (
        f"{PLACE}.objectives.similarity compares all rows of a batch with each other, so a batch "
        f"of 16 cannot be computed {parts}. Set training.micro_batch_size to null and "
        "runtime.processes to 1"
    )
    assert checked(params, student) == line
    assert selected(params, student, even_store, even_tokens) == line


def test_a_misspelt_field_of_a_network_has_a_near_match(params: dict[str, Any]) -> None:
    """Catches a setting of another name that is left at its default without a word."""
    student = {"model": {**CNN, "n_filter": 50}, "objectives": {"hard_label": {}}}
    fault = f"{PLACE}.model.n_filter: unknown key; did you mean 'n_filters'?"
    assert checked(params, student) == fault
    own = {"model": {**BILSTM, "vocab_size": 50}, "objectives": {"hard_label": {}}}
    assert checked(params, own).startswith(f"{PLACE}.model.vocab_size: unknown key; known keys: ")


def test_fields_of_a_networks_config_are_settings(params: dict[str, Any]) -> None:
    """Negative control: what is refused above is not refused for being a network's."""
    students = {
        "cnn": {"model": {**CNN, "filter_widths": [2, 3], "n_filters": 8, "dropout": 0.0}},
        "bilstm": {"model": {**BILSTM, "lstm_size": 8, "n_layers": 2, "embedding_size": 16}},
    }
    objectives = {"soft_target": {}, "cls": {"layer_map": [[1, 4]], "projection": True}}
    check_params(
        {
            **params,
            "students": {name: {**one, "objectives": objectives} for name, one in students.items()},
        }
    )


def test_settings_beside_a_checkpoint(params: dict[str, Any]) -> None:
    """Catches widths that a checkpoint does not take, and a student of nothing."""
    student = {"model": {**OWN, "hidden_size": 8, "n_layers": 1}, "objectives": {"hard_label": {}}}
    assert checked(params, student) == (
        f"{PLACE}.model: the checkpoint says what the student is; take hidden_size, n_layers out"
    )
    empty = {"model": {"warm_start": "none"}, "objectives": {"hard_label": {}}}
    assert checked(params, empty) == (
        f"{PLACE}.model: give n_layers, or the checkpoint that the student starts from"
    )


@pytest.mark.parametrize("kind", ["token_classification", "multiple_choice", "question_answering"])
def test_own_tokens_of_a_task_of_tokens(params: dict[str, Any], kind: str) -> None:
    """Catches labels that would stand at other tokens, found when all else is done."""
    needed = {"multiple_choice": "choices", "question_answering": "question"}
    columns = {needed[kind]: "column"} if kind in needed else {}
    params |= {"task": {"kind": kind}, "data": {"source": "files", "columns": columns}}
    student = {"model": OWN, "objectives": {"soft_target": {}}}
    fault = checked(params, student)
    assert fault.startswith(f"{PLACE}.model.checkpoint: ")
    assert "the student has another tokenizer than the teacher" in fault
    check_params({**params, "students": {"a": {"model": LAYERS, "objectives": {"hard_label": {}}}}})
    params["augmentation"] = {"n_copies": 1}
    fault = checked(params, {"model": LAYERS, "objectives": {"hard_label": {}}})
    assert fault.startswith("augmentation.n_copies: ")
