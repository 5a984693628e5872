"""Students that train on augmented rows, beside students that do not."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import StoreIncompleteError
from pipeline.evaluate.evaluate import evaluate
from pipeline.evaluate.settings import EvaluationSettings
from pipeline.store.manifest import read_manifest
from pipeline.store.reader import TeacherStore
from pipeline.store.view import write_view
from pipeline.tasks import TASKS, task_of
from pipeline.text.augment import AugmentationSettings, augment
from pipeline.text.joined import with_augmented, with_augmented_last
from pipeline.text.tokens import Tokens, open_tokens
from tests.conftest import capture_store
from tests.train.bench import Bench

STUDENT: dict[str, Any] = {
    "model": {"n_layers": 2},
    "objectives": {"hard_label": {}, "soft_target": {}, "cls": {}},
}


@dataclass(frozen=True)
class Stores:
    """A store before and after the variants were captured, with the tables to read it by."""

    plain: Bench
    grown: Bench
    augmented: Bench
    """The grown store for the table together with its variants."""
    n_variants: int


@pytest.fixture(scope="module")
def stores(
    tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, even_tokens: Tokens
) -> Stores:
    folder = tmp_path_factory.mktemp("augmented")
    (folder / "variants").mkdir()
    settings = AugmentationSettings(n_copies=2)
    augment(
        even_tokens, task_of(even_tokens), load_tokenizer(checkpoint), settings, folder / "variants"
    )
    variants = open_tokens(folder / "variants")
    plain = capture_store(folder / "plain", checkpoint, even_tokens, segment_rows=30)
    grown = capture_store(folder / "grown", checkpoint, even_tokens, segment_rows=30)
    all_rows = with_augmented_last(even_tokens, variants)
    capture_store(grown, checkpoint, all_rows, segment_rows=30)
    return Stores(
        Bench(plain, even_tokens),
        Bench(grown, even_tokens),
        Bench(grown, with_augmented(even_tokens, variants)),
        len(variants.splits["train"]),
    )


def test_the_view_is_of_both_tables(stores: Stores) -> None:
    """Catches a student that is not trained again on other variants, or reads half of them."""
    view, plain = stores.augmented.view(STUDENT), stores.grown.view(STUDENT)
    assert view.tokens == stores.augmented.tokens.digest != plain.tokens
    names = [segment.name for segment in view.manifest.segments]
    own = [segment.name for segment in plain.manifest.segments]
    whole = [segment.name for segment in read_manifest(stores.grown.store).segments]
    assert names == whole and names[: len(own)] == own and len(names) > len(own) >= 3
    store = TeacherStore(stores.grown.store, view.manifest)
    assert len(store.find(stores.augmented.tokens.splits["train"].keys)) == 60 + stores.n_variants


def test_a_plain_students_view_does_not_see_variants(tmp_path: Path, stores: Stores) -> None:
    """Catches plain students that are trained again because another one asked for variants."""
    written = []
    for name, bench in (("plain", stores.plain), ("grown", stores.grown)):
        write_view(tmp_path / name, bench.view(STUDENT))
        written.append((tmp_path / name).read_bytes())
    assert len(read_manifest(stores.grown.store).segments) > len(
        read_manifest(stores.plain.store).segments
    )
    assert written[0] == written[1]


def test_variants_that_were_not_captured_are_counted(stores: Stores) -> None:
    """Catches a student that is trained on those variants that happen to be there."""
    bench = Bench(stores.plain.store, stores.augmented.tokens)
    with pytest.raises(StoreIncompleteError, match=r"plain lacks \d+ of the \d+ distinct rows"):
        bench.view(STUDENT)


def test_an_augmented_student_trains_on_all_and_is_measured_on_the_plain_rows(
    tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches variants that are not trained on, and a view that no evaluation can read."""
    monkeypatch.chdir(tmp_path)
    bench = stores.augmented
    folder, view = tmp_path / "students" / "a", bench.view(STUDENT)
    trained = bench.run(folder, student=STUDENT, view=view, epochs=1)
    (path,) = (folder / "curves").rglob("train/loss.tsv")
    n_steps = len(path.read_text(encoding="utf-8").splitlines()) - 1
    assert n_steps == -(-(60 + stores.n_variants) // 15) > 4
    metrics = evaluate(
        "a",
        folder,
        view,
        bench.store,
        stores.plain.tokens,
        TASKS["classification"],
        EvaluationSettings(splits=("validation",), n_latency_repeats=1, n_latency_examples=4),
        tmp_path / "evaluation",
        objectives=["soft_target"],
        inputs={},
        device=torch.device("cpu"),
    )
    scores = metrics["splits"]["validation"]
    assert scores["n_rows"] == scores["n_labelled"] == 20
    assert scores["student"]["accuracy"] == pytest.approx(trained.scores["accuracy"])
