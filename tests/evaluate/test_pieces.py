"""Students of word pieces beside their stored teacher: numbers, files, report and one row."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sacrebleu
import torch
from torch import Tensor
from transformers import PreTrainedModel

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import DataError
from pipeline.evaluate.evaluate import evaluate
from pipeline.evaluate.settings import EvaluationSettings
from pipeline.evaluate.stored_row import describe_row, find_row
from pipeline.models.head import load_trained
from pipeline.models.inputs import pad_rows
from pipeline.report.report import Sources, write_report
from pipeline.store.manifest import read_manifest
from pipeline.store.reader import open_store
from pipeline.store.spec import parse_array_name
from pipeline.store.view import make_view
from pipeline.tasks import TASKS
from pipeline.tasks.task import Kind
from pipeline.teacher.generate import generate
from pipeline.teacher.generation_settings import GenerationSettings
from pipeline.text.joined import open_generated
from pipeline.text.tokens import Tokens
from tests.conftest import capture_store
from tests.report.made_report import (
    section_of,
    write_curve,
    write_json,
)
from tests.tasks.small_tasks import make_teacher, make_tokens

CPU = torch.device("cpu")
K = 5
KINDS: tuple[Kind, ...] = ("masked_lm", "sequence_to_sequence")
SETTINGS = EvaluationSettings.model_validate(
    {
        "splits": ("validation",),
        "n_latency_repeats": 1,
        "n_latency_examples": 3,
        "generation": {"num_beams": 2, "max_new_tokens": 6},
    }
)


@dataclass(frozen=True)
class Evaluated:
    """Two students, of which one is the teacher itself."""

    kind: Kind
    folder: Path
    tokens: Tokens
    metrics: dict[str, dict[str, Any]]
    models: dict[str, PreTrainedModel]

    @property
    def store_dir(self) -> Path:
        return self.folder / "store"

    def logits(self, name: str) -> Tensor:
        """Return the whole vocabulary's logits, (target, piece), row by row."""
        split = self.tokens.splits["validation"]
        model = self.models[name]
        parts = []
        for row in range(len(split)):
            inputs = pad_rows([split.row(row)], 0, has_token_types=self.kind == "masked_lm")
            is_target = inputs.pop("is_target")
            with torch.no_grad():
                parts.append(model(**inputs).logits[is_target])
        return torch.cat(parts).double()

    def report(self) -> Path:
        """Write the report, with a made-up training."""
        evaluations = self.folder / "evaluations"
        sources = Sources(evaluations, self.folder / "curves", self.folder / "seconds", {})
        paths = []
        for name, metrics in self.metrics.items():
            paths.append(self.folder / "metrics" / f"{name}.json")
            write_json(paths[-1], metrics)
            write_curve(sources.curves / name, "train/loss", [2.0, 1.0])
            write_curve(sources.curves / name, "validation/perplexity", [900.0, 30.0, 12.0])
        write_report(paths, self.folder / "report", sources)
        return self.folder / "report"


@pytest.fixture(scope="module", params=KINDS)
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """Not to be changed."""
    kind: Kind = request.param
    folder = tmp_path_factory.mktemp(kind)
    teacher = make_teacher(folder / "twin", kind)
    tokens = make_tokens(folder, kind, teacher)
    signals = {"logits": {"top_k": K, "encoding": "float32"}, "attentions": {"layers": (1, 2)}}
    capture_store(folder / "store", teacher, tokens, signals=signals)
    manifest = read_manifest(folder / "store")
    arrays = [parse_array_name(name) for name in manifest.array_names()]
    view = make_view(folder / "store", manifest, tokens, arrays)
    other = load_trained(teacher, TASKS[kind])
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    other.save_pretrained(folder / "other")
    load_tokenizer(teacher).save_pretrained(folder / "other")
    generated = None
    if kind == "sequence_to_sequence":
        settings = GenerationSettings(splits=("validation",), num_beams=2, max_new_tokens=6)
        (folder / "generated").mkdir()
        generate(teacher, tokens, TASKS[kind], settings, folder / "generated", device=CPU)
        generated = open_generated(folder / "generated")
    metrics = {
        name: evaluate(
            name,
            folder / name,
            view,
            folder / "store",
            tokens,
            TASKS[kind],
            SETTINGS,
            folder / "evaluations" / name,
            objectives=["soft_target"],
            inputs={},
            device=CPU,
            generated=generated if name == "twin" else None,
        )
        for name in ("twin", "other")
    }
    models = {name: load_trained(folder / name, TASKS[kind]).eval() for name in metrics}
    return Evaluated(kind, folder, tokens, metrics, models)


def test_scores_are_those_of_the_whole_vocabulary(done: Evaluated) -> None:
    """Catches a perplexity among the teacher's likeliest alone, and pieces of other rows."""
    right = torch.tensor(done.tokens.splits["validation"].labels)
    assert len(right) > 20
    for name, model in (("twin", "student"), ("other", "student"), ("other", "teacher")):
        scores = done.metrics[name]["splits"]["validation"][model]
        logits = done.logits("twin" if model == "teacher" else name)
        expected = torch.nn.functional.cross_entropy(logits, right).exp().item()
        # Float32 logits of a few units have errors of 1e-6.
        assert scores["perplexity"] == pytest.approx(expected, rel=1e-5)
        if done.kind == "masked_lm":
            assert scores["accuracy"] == (logits.argmax(1) == right).double().mean().item()


def test_fidelity_is_in_the_teachers_classes(done: Evaluated) -> None:
    """Catches a student's own likeliest pieces as classes, and others that are left out."""
    ours, theirs = done.logits("other"), done.logits("twin")
    pieces = theirs.topk(K).indices
    merged = []
    for logits in (ours, theirs):
        odds = logits.softmax(1).gather(1, pieces)
        merged.append(torch.cat([odds, 1 - odds.sum(1, keepdim=True)], 1).log())
    kl = (merged[1].exp() * (merged[1] - merged[0])).sum(1).mean().item()
    whole = (theirs.softmax(1) * (theirs.log_softmax(1) - ours.log_softmax(1))).sum(1).mean()
    found = done.metrics["other"]["splits"]["validation"]["fidelity"]
    # As above, with the probability of all other pieces a difference of two numbers near 1.
    assert found["kl"] == pytest.approx(kl, rel=1e-4)
    assert 0 < found["kl"] < whole.item()
    assert found["agreement"] == (ours.argmax(1) == theirs.argmax(1)).double().mean().item()
    assert 0 < found["agreement"] < 1
    twin = done.metrics["twin"]["splits"]["validation"]["fidelity"]
    assert twin["agreement"] == 1.0
    assert twin["kl"] < 1e-6  # float32


def test_the_file_has_what_is_said_of_each_place(done: Evaluated) -> None:
    """Catches names of other pieces, and the confidence of the wrong one."""
    path = done.folder / "evaluations" / "other" / "validation.arrow"
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    vocabulary = load_tokenizer(done.folder / "twin").get_vocab()
    logits = done.logits("other")
    found = [
        vocabulary[name] if name in vocabulary else int(name.removeprefix("piece "))
        for name in table["student_token"].to_pylist()
    ]
    assert found == logits.argmax(1).tolist()
    assert max(found) >= len(vocabulary), "the model has more pieces than the tokenizer"
    right = [vocabulary[name] for name in table["label_token"].to_pylist()]
    assert right == table["label"].to_pylist()
    confidence = np.asarray(table["student_confidence"])
    assert confidence == pytest.approx(logits.softmax(1).max(1).values.numpy(), rel=1e-4)
    contexts = table["context"].to_pylist()
    if done.kind == "masked_lm":
        assert any("»[MASK]«" in context for context in contexts)
    else:
        assert contexts[0] == "»?«"
        assert contexts[1] == f"{table['label_token'][0].as_py()} »?«"


def test_texts_are_written_and_scored(done: Evaluated) -> None:
    """Catches texts of unlabelled rows, other orders, and special tokens within texts."""
    scores = done.metrics["other"]["splits"]["validation"]["student"]
    if done.kind == "masked_lm":
        assert set(scores) == {"perplexity", "accuracy"}
        return
    split = done.tokens.splits["validation"]
    tokenizer = load_tokenizer(done.folder / "twin")
    written, right = [], []
    for row in np.flatnonzero(split.n_targets).tolist():
        ids = torch.from_numpy(split.row(row).ids.astype(np.int64))[None]
        found = done.models["other"].generate(
            input_ids=ids, num_beams=2, max_new_tokens=6, do_sample=False
        )
        written.append(tokenizer.decode(found[0], skip_special_tokens=True))
        right.append(split.table["text_pair"][row].as_py())
    assert len(right) < len(split), "one row has no target"
    assert scores["chrf"] == pytest.approx(sacrebleu.corpus_chrf(written, [right]).score / 100)
    assert scores["bleu"] == pytest.approx(sacrebleu.corpus_bleu(written, [right]).score / 100)
    assert scores["chrf"] > 0
    assert "bleu" not in done.metrics["other"]["splits"]["validation"]["teacher"]


def test_the_teachers_own_texts_are_scored_where_it_wrote_some(done: Evaluated) -> None:
    """Catches texts of other rows as the teacher's, and a student that writes in another way."""
    twin = done.metrics["twin"]["splits"]["validation"]
    if done.kind == "sequence_to_sequence":
        assert twin["teacher"]["chrf"] == twin["student"]["chrf"] > 0
        assert twin["teacher"].keys() == twin["student"].keys()


def test_scores_can_be_counted_again_from_the_texts(done: Evaluated) -> None:
    """Catches texts that are kept nowhere, those of other rows, and one model's as the other's."""
    for name, metrics in done.metrics.items():
        path = done.folder / "evaluations" / name / "validation-texts.arrow"
        if done.kind == "masked_lm":
            assert not path.exists()
            continue
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        split = done.tokens.splits["validation"]
        rows = table["row"].to_pylist()
        assert rows == table["number"].to_pylist() == np.flatnonzero(split.n_targets).tolist()
        assert table["text"].to_pylist() == split.table["text"].take(rows).to_pylist()
        right = [references for (references,) in table["references"].to_pylist()]
        scores = metrics["splits"]["validation"]
        for who in ("student", "teacher"):
            written = table[who].to_pylist()
            if "bleu" not in scores[who]:
                assert (name, who) == ("other", "teacher") and written == [None] * len(rows)
                continue
            bleu = sacrebleu.corpus_bleu(written, [right]).score / 100
            chrf = sacrebleu.corpus_chrf(written, [right]).score / 100
            assert (scores[who]["bleu"], scores[who]["chrf"]) == pytest.approx((bleu, chrf))
            exact = [one.strip() == other for one, other in zip(written, right, strict=True)]
            assert scores[who]["text_exact_match"] == np.mean(exact)


def test_the_report_shows_texts(done: Evaluated) -> None:
    """Catches a translation of which nobody ever sees a word."""
    report = done.report()
    markdown = (report / "report.md").read_text(encoding="utf-8")
    if done.kind == "masked_lm":
        assert "Texts as they were written" not in markdown
        return
    part = markdown[markdown.index("## Texts as they were written") :].split("\n## ")[0]
    twin, other = part[part.index("### twin") :], part[part.index("### other") :]
    assert "The two never differ." in twin  # the teacher itself writes what the teacher wrote
    lines = [line for line in other.split("### twin")[0].splitlines() if line.startswith("| ")]
    assert len(lines) == 2 + 5
    assert all(" | – | " in line for line in lines[2:]), "the teacher's own texts are not here"
    assert section_of(report, "texts").count('<td class="text">') == 5


def test_the_vocabulary_is_a_part_of_the_work(done: Evaluated) -> None:
    """Catches a count without the projection, and a decoder that is given nothing."""
    work = done.metrics["other"]["work"]
    assert work["student"] == work["teacher"]
    cost = done.metrics["other"]["cost"]
    assert cost["student"]["n_parameters"] == cost["teacher"]["n_parameters"]
    assert work["student"]["flops"] > 0


def test_the_report_shows_pieces(done: Evaluated) -> None:
    """Catches numbers of pieces in place of their names, and a matrix of the vocabulary."""
    report = done.report()
    assert "too many tokens" in section_of(report, "confusions")
    confidence = section_of(report, "confidence")
    assert confidence.count("<svg") == 2 and ">same token<" in confidence
    markdown = (report / "report.md").read_text(encoding="utf-8")
    other, *_ = [part for part in markdown.split("### ")[1:] if part.startswith("other")]
    examples = [line for line in other.splitlines() if "»" in line]
    assert len(examples) == 5
    n_targets = len(done.tokens.splits["validation"].labels)
    assert f"16 rows with {n_targets} tokens" in markdown.replace("\\", "") or (
        f"rows with {n_targets} tokens, {n_targets} of them labelled" in markdown
    )
    assert "<svg" in section_of(report, "attention")
    page = (report / "report.html").read_text(encoding="utf-8")
    has_no_texts = "The teacher has no BLEU, chrF, exact texts of validation" in page
    assert has_no_texts == (done.kind == "sequence_to_sequence")


def test_a_stored_row_is_shown_by_its_key(done: Evaluated) -> None:
    """Catches probabilities of other places, and a text that is taken for the whole row."""
    store = open_store(done.store_dir)
    split = done.tokens.splits["validation"]
    number = int(split.n_targets.argmax())
    row = find_row(store, split.keys[number].tobytes().hex(), tokens_dir=done.folder / "tokens")
    places = split.label_places(np.array([number]))
    odds = done.logits("twin")[places].softmax(1)
    assert [piece.probability for piece in row.pieces] == pytest.approx(
        odds.max(1).values.tolist(), rel=1e-4
    )
    right = torch.from_numpy(split.labels[places])[:, None]
    assert [piece.right_probability for piece in row.pieces] == pytest.approx(
        odds.gather(1, right)[:, 0].tolist(), rel=1e-4
    )
    lines = describe_row(row).splitlines()
    first = row.pieces[0]
    assert first.right is not None
    assert any(f"{first.likeliest} {first.probability:.4f}, right: " in line for line in lines)
    with pytest.raises(DataError, match="Give its key"):
        find_row(store, split.table["text"][0].as_py())


def test_absent_parts_say_why(done: Evaluated) -> None:
    """Catches states that are compared where no token stands for a row."""
    folder = done.folder / "evaluations" / "other"
    similarity = json.loads((folder / "similarity.json").read_text(encoding="utf-8"))
    if done.kind == "sequence_to_sequence":
        assert "no state of the whole row" in similarity["absent"]
    else:
        assert len(similarity["cka"]) == 2
