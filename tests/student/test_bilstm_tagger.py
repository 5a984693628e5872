"""The recurrent student that labels every token."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForTokenClassification

import pipeline.student.registration  # noqa: F401
from pipeline.core.errors import SettingsError
from pipeline.objectives.settings import ClsObjectiveSettings
from pipeline.signals.models import Models
from pipeline.student.bilstm import BilstmForTokenClassification, BilstmTaggerConfig
from pipeline.student.network_settings import STUDENTS
from pipeline.tasks import TASKS
from tests.same_model import assert_same_model
from tests.student.own_models import PAD_ID, ROUNDING, make_texts, pad, with_large_biases
from tests.student.test_bilstm import reference_lstm
from tests.train.conftest import MODELS


def make_tagger(**options: Any) -> BilstmForTokenClassification:
    torch.manual_seed(3)
    sizes = {"vocab_size": 32, "pad_token_id": PAD_ID, "embedding_size": 6, "num_labels": 3}
    config = BilstmTaggerConfig(**sizes, lstm_size=5, n_layers=2, hidden_size=7, **options)
    return BilstmForTokenClassification(config).eval()


@pytest.mark.parametrize("side", ["right", "left"])
def test_every_token_has_the_label_it_has_alone(side: str) -> None:
    """Catches logits at the places of rearranged tokens, and padding that is read."""
    tagger = with_large_biases(make_tagger())
    texts = make_texts((9, 5, 2, 1))
    with torch.no_grad():
        logits = tagger(**pad(texts, 11, side=side)).logits
        for row, text in enumerate(texts):
            states, _ = reference_lstm(tagger)(tagger.embeddings.weight[text])
            expected = tagger.classifier(tagger.hidden(states).relu())
            start = 11 - len(text) if side == "left" else 0
            found = logits[row, start : start + len(text)]
            torch.testing.assert_close(found, expected, rtol=ROUNDING, atol=ROUNDING)
            assert expected.std() > 0


def test_its_loss_leaves_ignored_tokens_out() -> None:
    """Catches a mean over padding and over second pieces of words."""
    tagger = make_tagger()
    inputs = pad(make_texts((4, 2)), 4, side="right")
    labels = torch.tensor([[-100, 1, 2, -100], [-100, 0, -100, -100]])
    outputs = tagger(**inputs, labels=labels)
    chosen = outputs.logits[labels >= 0].log_softmax(-1)
    expected = -chosen[torch.arange(3), torch.tensor([1, 2, 0])].mean()
    # Sums of three float32 terms below 10.
    torch.testing.assert_close(outputs.loss, expected, rtol=1e-6, atol=1e-6)


def test_a_saved_tagger_is_loaded_by_its_auto_class(tmp_path: Path) -> None:
    """Catches a tagger that the Auto classes take for a classifier, or do not know."""
    tagger = make_tagger()
    tagger.save_pretrained(tmp_path)
    loaded = AutoModelForTokenClassification.from_pretrained(tmp_path)
    inputs = pad(make_texts((4, 2)), 4, side="right")
    assert_same_model(loaded, tagger, **inputs)


@pytest.mark.parametrize(
    ("architecture", "kind", "can"),
    [
        ("bilstm_tagger", "token_classification", True),
        ("bilstm_tagger", "classification", False),
        ("bilstm", "token_classification", False),
        ("bilstm", "multi_label", True),
        ("text_cnn", "regression", True),
        ("text_cnn", "multiple_choice", False),
        ("bilstm", "question_answering", False),
        ("bilstm_tagger", "question_answering", False),
    ],
)
def test_a_network_is_for_its_tasks_alone(architecture: str, kind: str, *, can: bool) -> None:
    """Catches a student that fails in its first step because it has no such head."""
    shape = STUDENTS[architecture]().shape(MODELS.teacher, "")
    faults = Models(shape, MODELS.teacher, TASKS[kind]).head_faults()
    assert bool(faults) is not can
    if faults:
        assert faults[0].startswith(
            f"architecture: a {architecture} student has no head for {kind}; use a transformer"
        )


def test_it_has_no_state_of_the_whole_row() -> None:
    """Catches an objective of [CLS] states that fails in its first step."""
    shape = STUDENTS["bilstm_tagger"]().shape(MODELS.teacher, "")
    models = Models(shape, MODELS.teacher, TASKS["token_classification"])
    with pytest.raises(SettingsError, match="which a bilstm_tagger student does not have"):
        ClsObjectiveSettings().needs(models)
