"""What every student architecture of the project's own keeps."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import make_tokenizer
from tests.same_model import assert_same_model
from tests.student.own_models import (
    OWN_MODELS,
    PAD_ID,
    ROUNDING,
    make_config,
    make_own,
    make_texts,
    pad,
    with_large_biases,
)

each_model = pytest.mark.parametrize("name", OWN_MODELS)


@each_model
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("width", [9, 10, 30])
@pytest.mark.parametrize("is_biased", [False, True])
def test_padding_changes_nothing(name: str, side: str, width: int, is_biased: bool) -> None:
    """Catches biases that speak at padding, and states that run through it."""
    model = make_own(name).double()
    if is_biased:
        with_large_biases(model)
    texts = make_texts((9, 4, 1))
    with torch.no_grad():
        padded = model(**pad(texts, width, side=side))
        for row, text in enumerate(texts):
            alone = model(torch.tensor([text]))
            assert alone.pooler_output.max() > 0
            for key in ("pooler_output", "logits"):
                torch.testing.assert_close(
                    padded[key][row], alone[key][0], rtol=ROUNDING, atol=ROUNDING
                )


@each_model
@pytest.mark.parametrize("is_biased", [False, True])
def test_padding_that_is_taken_for_text_matters(name: str, is_biased: bool) -> None:
    """Negative control: the check above can see padding that the mask does not name."""
    model = make_own(name).double()
    if is_biased:
        with_large_biases(model)
    batch = pad(make_texts((9, 4, 1)), 30, side="right")
    with torch.no_grad():
        told, untold = model(**batch), model(batch["input_ids"])
    assert (told.logits - untold.logits).abs().amax(1).gt(1e-3).all()


@each_model
def test_a_row_of_padding_is_finite(name: str) -> None:
    """Catches NaN of a maximum or a softmax over nothing, in the loss or in the gradients."""
    model = make_own(name)
    batch = pad([*make_texts((4,)), []], 6, side="right")
    with torch.autograd.set_detect_anomaly(True):  # refuses NaN on the way as well
        outputs = model(**batch, labels=torch.tensor([0, 1]))
        outputs.loss.backward()
    assert outputs.logits.isfinite().all() and outputs.loss.isfinite()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


@each_model
def test_is_deterministic_in_evaluation(name: str) -> None:
    """Catches dropout that stays on, and dropout that is never on."""
    model = make_own(name, dropout=0.5)
    batch = pad(make_texts((9, 4)), 9, side="right")
    assert torch.equal(model(**batch).logits, model(**batch).logits)
    model.train()
    assert not torch.equal(model(**batch).logits, model(**batch).logits)


@each_model
def test_token_types_are_not_read(name: str) -> None:
    """Catches a model that refuses what tokenizers give, or mistakes it for something else."""
    model = make_own(name)
    batch = pad(make_texts((5, 5)), 5, side="right")
    types = torch.ones_like(batch["input_ids"])
    assert torch.equal(model(**batch, token_type_ids=types).logits, model(**batch).logits)


@each_model
def test_gradients_reach_every_weight(name: str) -> None:
    """Catches a layer that is made and never used, and padding that is trained."""
    model = make_own(name, dropout=0.0)
    ids = torch.tensor([*make_texts((12, 12, 12)), [PAD_ID] * 12])
    model(ids, labels=torch.tensor([0, 1, 2, 0])).loss.backward()
    weights = dict(model.named_parameters())
    assert len(weights) > 5
    for key, weight in weights.items():
        assert weight.grad.norm() > 0, key
    assert model.get_input_embeddings().weight.grad[PAD_ID].eq(0).all()


@each_model
def test_the_three_losses(name: str) -> None:
    """Catches a loss of another kind than the labels', and -100 that counts as a class."""
    batch = pad(make_texts((5, 7, 3)), 7, side="right")

    def run(labels: torch.Tensor, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = make_own(name, **options).double()(**batch, labels=labels)
        return outputs.logits, outputs.loss

    logits, loss = run(torch.tensor([2, -100, 0]))
    expected = -(logits[0].log_softmax(0)[2] + logits[2].log_softmax(0)[0]) / 2
    torch.testing.assert_close(loss, expected)

    numbers = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    logits, loss = run(numbers, num_labels=1)
    torch.testing.assert_close(loss, (logits[:, 0] - numbers).square().mean())

    several = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0]], dtype=torch.float64)
    logits, loss = run(several, problem_type="multi_label_classification")
    signed = logits * (2 * several - 1)
    torch.testing.assert_close(loss, -signed.sigmoid().log().mean())


@each_model
def test_runs_in_bfloat16(name: str) -> None:
    """Catches tensors of mixed types, and infinities that bfloat16 cannot carry."""
    if name == "bilstm" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("torch has no LSTM in bfloat16 for this processor")
    model = make_own(name).train()
    batch = pad([*make_texts((5, 7)), []], 7, side="left")
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(**batch, labels=torch.tensor([0, 1, 2]))
    outputs.loss.backward()
    assert outputs.logits.dtype == torch.bfloat16
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


@each_model
def test_the_embedding_can_be_replaced(name: str) -> None:
    """Catches embeddings that cannot be another model's, and a padding row that is not zero."""
    model = make_own(name)
    embeddings = model.get_input_embeddings()
    assert embeddings.padding_idx == PAD_ID
    assert embeddings.weight[PAD_ID].eq(0).all()
    assert embeddings.weight.ne(0).all(1).sum() == 31
    batch = pad(make_texts((5,)), 5, side="right")
    before = model(**batch).logits
    model.set_input_embeddings(torch.nn.Embedding(32, 6, padding_idx=PAD_ID))
    assert not torch.equal(model(**batch).logits, before)


@each_model
def test_saved_and_loaded_is_the_same(name: str, tmp_path: Path) -> None:
    """Catches weights that are drawn anew on loading, and settings that are not saved."""
    model = make_own(name)
    with torch.no_grad():
        for weight in model.parameters():  # else a bias drawn anew would be 0 once more
            weight.add_(0.5)
    model.save_pretrained(tmp_path)
    loaded, info = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    known = make_config(name).to_dict()
    assert {key: loaded.config.to_dict()[key] for key in OWN_MODELS[name].sizes} == {
        key: known[key] for key in OWN_MODELS[name].sizes
    }
    batch = pad(make_texts((5, 7)), 7, side="right")
    assert_same_model(loaded, model, **batch)


ELSEWHERE = """
import json, sys
sys.modules["pipeline"] = sys.modules["stages"] = None  # importing them fails
import torch
from transformers import AutoModelForSequenceClassification, pipeline
for folder in sys.argv[1:]:
    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
    assert type(model).__module__.startswith("transformers_modules."), type(model)
    classify = pipeline("text-classification", folder, trust_remote_code=True, top_k=None)
    ids = classify.tokenizer("the film was bright", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = model(ids).logits[0].tolist()
    scores = {one["label"]: one["score"] for one in classify(["the film was bright"])[0]}
    print(json.dumps({"ids": ids.tolist(), "logits": logits, "scores": scores}))
"""


def test_loads_where_the_project_is_not_installed(tmp_path: Path) -> None:
    """Catches a model file that needs the rest of the project, or is not saved with the weights."""
    models = {name: make_own(name, id2label={0: "bad", 1: "good"}) for name in OWN_MODELS}
    for name, model in models.items():
        model.save_pretrained(tmp_path / name)
        make_tokenizer(tmp_path / name)
        assert (tmp_path / name / f"{name}.py").is_file()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {
        "HF_HOME": str(tmp_path / "home"),
        "HF_MODULES_CACHE": str(tmp_path / "modules"),
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-I", "-c", ELSEWHERE, *[tmp_path / name for name in OWN_MODELS]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(models) == 2
    for line, model in zip(lines, models.values(), strict=True):
        with torch.no_grad():
            logits = model(torch.tensor(line["ids"])).logits[0]
        # Equal but for printing; the pipeline's own softmax rounds in float32.
        assert line["logits"] == logits.tolist()
        expected = dict(zip(("bad", "good"), logits.softmax(0).tolist(), strict=True))
        assert line["scores"] == pytest.approx(expected, rel=1e-6)


@each_model
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": 0}, r"vocab_size must be a whole number of at least 1, got 0"),
        ({"embedding_size": 2.5}, r"embedding_size must be a whole number .*, got 2\.5"),
        ({"embedding_size": True}, r"embedding_size must be a whole number .*, got True"),
        ({"pad_token_id": 32}, r"pad_token_id must be from 0 to 31, got 32"),
        ({"pad_token_id": -1}, r"pad_token_id must be from 0 to 31, got -1"),
        ({"dropout": 1.5}, r"dropout must be at least 0 and below 1, got 1\.5"),
        ({"dropout": 1}, r"dropout must be at least 0 and below 1, got 1"),
        ({"dropout": float("nan")}, r"dropout must be at least 0 and below 1, got nan"),
    ],
)
def test_impossible_values_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    """Catches a model that is made of values that mean nothing, or fails far from their cause."""
    with pytest.raises(ValueError, match=message):
        make_config(name, **options)


@each_model
def test_the_config_says_the_width_the_classifier_reads(name: str) -> None:
    """Catches a `hidden_size` that is not the pooler output's, and defaults that are refused."""
    model = make_own(name)
    assert model.config.hidden_size == model(torch.tensor([[5, 6]])).pooler_output.shape[1]
    assert OWN_MODELS[name].config_class().model_type == name


@each_model
def test_without_padding_token_none_is_special(name: str) -> None:
    """Catches a model that needs a padding token."""
    model = make_own(name, pad_token_id=None)
    assert model.get_input_embeddings().weight.ne(0).all()
