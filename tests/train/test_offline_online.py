"""A student that learns from a store learns what the live teacher would have taught it."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, BertConfig

from benchmarks.online import OnlineSplit
from pipeline.core.checkpoint import BUNDLED, find_checkpoint, load_tokenizer
from pipeline.store.reader import open_store
from pipeline.tasks.classification import CLASSIFICATION
from pipeline.tasks.task import Tokenising
from pipeline.tasks.token_table import write_tokens
from pipeline.text.corpus import DataSettings, read_corpus
from pipeline.text.tokens import Tokens, open_tokens
from pipeline.train.batches import JoinedSplit
from tests.conftest import capture_store
from tests.train.conftest import CPU, EVERY_OBJECTIVE, Setting, without_dropout
from tests.train.shifted_split import ShiftedSplit

N_STEPS = 200
TEMPERATURE = EVERY_OBJECTIVE["soft_target"]["temperature"]
COLUMNS = ("loss", *EVERY_OBJECTIVE)
OPTIONS = {"batch_size": 8, "epochs": 2, "learning_rate": 1e-4}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of 4 layers with the tokenizer of the bundled one, which reads real text."""
    folder = tmp_path_factory.mktemp("online") / "teacher"
    load_tokenizer(find_checkpoint(BUNDLED)).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=32,
        num_labels=6,
        initializer_range=0.2,  # else attention maps are all but uniform
    )
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def real_tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    """English from the docstrings of installed libraries: 800 training rows of any length."""
    folder = tmp_path_factory.mktemp("online_tokens")
    sizes = {"train": 800, "validation": 40, "test": 40}
    settings = DataSettings.model_validate({"docstrings": {"max_sentences": sizes}})
    corpus = read_corpus(settings, CLASSIFICATION.read)
    names = CLASSIFICATION.label_names(corpus, None)
    assert len(names) == 6
    write_tokens(
        corpus,
        CLASSIFICATION,
        names,
        None,
        Tokenising(load_tokenizer(find_checkpoint(BUNDLED)), 64),
        folder,
    )
    tokens = open_tokens(folder)
    assert len(tokens.splits["train"]) == 800 and len(set(tokens.splits["train"].lengths)) > 20
    return tokens


def curves(setting: Setting, rows: JoinedSplit) -> Tensor:
    """Return the loss and the terms (step, 1 + objective) of a training without dropout."""
    student = without_dropout(setting.build_student())
    reports = list(setting.train(rows, student, **OPTIONS))
    assert len(reports) == N_STEPS
    return torch.tensor([[report.loss, *report.terms.values()] for report in reports])


def test_offline_equals_online(teacher: Path, real_tokens: Tokens, tmp_path: Path) -> None:
    """Catches signals of other rows, layers, heads or tokens, or stored with lost digits."""
    in_float32 = {
        "logits": {"encoding": "float32"},
        "cls": {"encoding": "float32"},
        "attentions": {"layers": (2, 4), "encoding": "float32"},
    }
    exact = capture_store(tmp_path / "exact", teacher, real_tokens, signals=in_float32)
    default = capture_store(tmp_path / "default", teacher, real_tokens)
    setting = Setting(exact, real_tokens, EVERY_OBJECTIVE)
    model = AutoModelForSequenceClassification.from_pretrained(teacher)
    live = OnlineSplit(
        real_tokens.splits["train"],
        open_store(exact),
        setting.needs,
        model,
        CPU,
        has_token_types=True,
    )
    online = curves(setting, live)
    offline = curves(setting, setting.join())
    encoded = curves(setting, setting.join(store=default))
    shifted = curves(setting, setting.join(ShiftedSplit))

    # The stored signals are those of other batches: sums in another order, one unit in the last
    # place here and there. The soft target is T^2 times a difference of logarithms.
    bound = 1e-5 * online
    bound[:, COLUMNS.index("soft_target")] += TEMPERATURE**2 * 4 * 2**-24
    assert ((offline - online).abs() < bound).all()

    assert ((encoded - online).abs() < encoding_bound(online)).all()

    control = (shifted - online).abs()
    for column, name in enumerate(COLUMNS):
        if name == "hard_label":  # labels come with the tokens: it feels the weights alone
            assert control[0, column] == 0
        else:
            assert (control / bound)[:, column].max() > 1000, name
            assert (control / encoding_bound(online))[:, column].max() > 20, name
    assert online[-20:, 0].mean() < 0.95 * online[:20, 0].mean()  # it learns


def encoding_bound(online: Tensor) -> Tensor:
    """Return how far float16 for [CLS] and attention may move the loss and each term.

    Rounding is by a share of e = 2^-11 at most. A state h that is off by e |h| has a direction
    that is off by 2 e; the squared distance d^2 of two directions then changes by 4 e d + 4 e^2,
    and the sum L of two of them by no more than 4 e sqrt(2 L) + 8 e^2.

    A divergence KL = sum p log(p / q) changes by e times sum p (|log(p / q)| + 1), which is no
    more than e (KL + sqrt(2 KL) + 1); probabilities below 2^-14 are rounded by 2^-25 instead,
    each times a logarithm between 2^-24 and 1, of at most 64 keys.

    The gradients are off by shares of the size of e, and so is what training changes in any term.
    """
    e = 2**-11
    terms = dict(zip(COLUMNS, online.unbind(1), strict=True))
    drift = {name: e * (values.max() - values.min()) for name, values in terms.items()}
    read = {
        "cls": 4 * e * (2 * terms["cls"]).sqrt() + 8 * e**2,
        "attentions": e * (terms["attentions"] + (2 * terms["attentions"]).sqrt() + 1)
        + 64 * 2**-25 * 24 * math.log(2),
    }
    nothing = torch.zeros(N_STEPS)
    bounds = {name: read.get(name, nothing) + drift[name] for name in COLUMNS[1:]}
    total = sum(EVERY_OBJECTIVE[name]["weight"] * part for name, part in bounds.items())
    return torch.stack([total, *bounds.values()], 1)
