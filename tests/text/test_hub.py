"""Raw text from the Hub: class names, configs, and a Hub that cannot be reached."""

import datasets
import pytest

from pipeline.core.errors import DataError
from pipeline.tasks.classification import CLASSIFICATION
from pipeline.text.corpus import DataSettings, read_corpus
from tests.text.made_corpus import column


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """A Hub with one dataset, whose validation is missing; returns what was asked of it."""
    asked: list[tuple[object, ...]] = []
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "ant"])}
    )

    def split(labels: list[int]) -> datasets.Dataset:
        rows = {"sentence": [f"text {number}" for number in range(len(labels))], "label": labels}
        return datasets.Dataset.from_dict(rows, features=features)

    def load_dataset(*request: object) -> datasets.DatasetDict:
        asked.append(request)
        return datasets.DatasetDict(
            train=split([0, 1] * 20), test=split([-1, -1]), unsupervised=split([-1])
        )

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def test_a_hub_dataset_is_read(hub: list[tuple[object, ...]]) -> None:
    """Catches a config taken for a part of the name, lost class names, -1 as a class."""
    settings = DataSettings.model_validate(
        {"source": "hub", "hub_id": "nyu-mll/glue:sst2", "columns": {"text": "sentence"}}
    )
    corpus = read_corpus(settings, CLASSIFICATION.read)
    assert hub == [("nyu-mll/glue", "sst2")]
    assert list(corpus) == ["train", "validation", "test"]
    assert len(corpus["train"]) + len(corpus["validation"]) == 40
    assert CLASSIFICATION.label_names(corpus, None) == ["neg", "ant"]
    assert column(corpus, "test", "label") == [None, None]
    for split in ("train", "validation"):
        rows = zip(column(corpus, split, "text"), column(corpus, split, "label"), strict=True)
        assert all(label == ("neg", "ant")[int(str(text)[5:]) % 2] for text, label in rows)


def test_a_hub_dataset_without_config_asks_for_none(hub: list[tuple[object, ...]]) -> None:
    """Catches an empty string asked for as a config."""
    options = {"source": "hub", "hub_id": "org/name", "columns": {"text": "sentence"}}
    read_corpus(DataSettings.model_validate(options), CLASSIFICATION.read)
    assert hub == [("org/name", None)]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionError("no route\nto the host"), "no route"),
        (FileNotFoundError(), "FileNotFoundError"),
    ],
)
def test_a_hub_that_cannot_be_reached_says_so(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    """Catches a library's traceback, and a fault in handling an error without a message."""

    def fail(*request: object) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(DataError, match=rf"^Hub dataset 'org/name' cannot be loaded: {reason}$"):
        read_corpus(
            DataSettings.model_validate({"source": "hub", "hub_id": "org/name"}),
            CLASSIFICATION.read,
        )
