"""Metrics and evidence of made-up students as the stages leave them, and a report read back."""

import json
from collections.abc import Sequence
from copy import deepcopy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.report.report import Sources, write_report

Metrics = dict[str, Any]

TEACHER_QUALITY = {"accuracy": 0.9, "macro_f1": 0.88, "expected_calibration_error": 0.03}

COST = {
    "n_parameters": 4_000_000,
    "size_bytes": 16_000_000,
    "latency_ms": 2.5,
    "throughput_per_second": 1234.0,
}

TEACHER_COST = {
    "n_parameters": 20_000_000,
    "size_bytes": 80_000_000,
    "latency_ms": 10.0,
    "throughput_per_second": 200.0,
}

WORK = {
    "flops": 50_000_000,
    "n_tokens": 20,
    "peak_memory_bytes": 30_000_000,
    "n_batch_tokens": 64,
}

TEACHER_WORK = {**WORK, "flops": 400_000_000, "peak_memory_bytes": 95_000_000}


def make_student_metrics(student: str, accuracy: float = 0.85) -> Metrics:
    """Return the metrics of a student by name and accuracy, both splits labelled and alike."""
    split = {
        "n_rows": 1000,
        "n_predictions": 1000,
        "n_labelled": 800,
        "student": {"accuracy": accuracy, "macro_f1": 0.83, "expected_calibration_error": 0.047},
        "teacher": TEACHER_QUALITY,
        "fidelity": {"agreement": 0.93, "kl": 0.1234},
        "constant_baseline": {"student": None, "teacher": None},
    }
    metrics = {
        "student": student,
        "architecture": "transformer",
        "n_layers": 3,
        "objectives": ["hard_label", "soft_target"],
        "task": "classification",
        "metrics": ["accuracy", "macro_f1", "expected_calibration_error"],
        "labels": ["a", "b"],
        "splits": {"test": split, "validation": deepcopy(split)},
        "cost": {"device": "cpu", "n_threads": 2, "student": COST, "teacher": TEACHER_COST},
        "work": {"student": WORK, "teacher": TEACHER_WORK},
    }
    return deepcopy(metrics)


TOKENS = ["[CLS]", "one", "$mall", "<text>", "[SEP]"]

PROVENANCE = {
    "data": {
        "digest": "d" * 64,
        "rows": {"train": 2800, "validation": 500, "test": 1000},
        "unlabelled": {"train": 2000, "validation": 0, "test": 0},
        "max_length": 128,
        "tokenizer": "e" * 64,
    },
    "teacher": {
        "architecture": "bert",
        "n_layers": 4,
        "hidden_size": 16,
        "weights": "a" * 64,
        "config": "b" * 64,
    },
    "store": {
        "identity": "c" * 64,
        "digest": "f" * 64,
        "n_rows": 4300,
        "precision": "float32",
        "arrays": {"logits": {"encoding": "float32", "size_bytes": 2**20}},
        "versions": {"torch": "2.13.0"},
    },
    "versions": {"python": "3.11.2", "torch": "2.13.0"},
}


def write_predictions(
    path: Path,
    texts: list[str],
    labels: Sequence[float],
    student_logits: Sequence[Sequence[float]],
    teacher_logits: Sequence[Sequence[float]],
    *,
    places: list[int] | None = None,
    more: dict[str, list[Any]] | None = None,
) -> None:
    """Write both models' answers, each about a row of its own or one of many of its `places`.

    `more` has the columns of a kind of task.
    """
    table = pa.table(
        {
            "row": pa.array(range(len(texts)), pa.int32()),
            "place": pa.array(places or [0] * len(texts), pa.int32()),
            "text": pa.array(texts).dictionary_encode(),
            "text_pair": pa.array([None] * len(texts), pa.string()),
            "label": pa.array(labels),
            **(more or {}),
            "student_logits": pa.array(student_logits, pa.list_(pa.float32())),
            "teacher_logits": pa.array(teacher_logits, pa.list_(pa.float32())),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def write_curve(folder: Path, name: str, values: list[float]) -> None:
    """Write a curve as `pipeline.train.curves` does."""
    path = folder / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"step\t{path.stem}", *(f"{3 * n}\t{value}" for n, value in enumerate(values))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_full_report(folder: Path, *students: str) -> Path:
    """Write a report of students of whom everything is known; return its folder."""
    paths = []
    for number, student in enumerate(students):
        paths.append(folder / "metrics" / f"{number:02}.json")
        write_json(paths[-1], make_student_metrics(student))
    write_report(paths, folder / "report", make_sources(folder / "made", *students))
    return folder / "report"


def make_sources(folder: Path, *students: str) -> Sources:
    """Write everything there can be of these students; one with `cnn` in its name has no layers."""
    sources = Sources(folder / "evaluations", folder / "curves", folder / "seconds", {})
    generator = np.random.default_rng(0)
    for student in students:
        of_student = sources.evaluations / student
        teacher = generator.normal(size=(40, 2)) * 3
        write_predictions(
            of_student / "test.arrow",
            [f"text number {row}" for row in range(40)],
            (teacher.argmax(1) ^ (generator.random(40) < 0.1)).tolist(),
            (teacher + generator.normal(size=(40, 2))).tolist(),
            teacher.tolist(),
        )
        write_json(of_student / "provenance.json", PROVENANCE)
        is_network = "cnn" in student
        write_json(of_student / "similarity.json", _similarity(is_network=is_network))
        absent = {"absent": "a text_cnn has no attention maps"}
        write_json(of_student / "attentions.json", absent if is_network else _attentions())
        for name in ("train/hard_label", "train/loss", "train/soft_target"):
            write_curve(sources.curves / student, name, [2.0 / (1 + n) for n in range(300)])
        write_curve(sources.curves / student, "validation/accuracy", [0.5, 0.7, 0.85])
        write_json(sources.seconds / f"distill@{student}.json", {"seconds": 61.25})
    write_json(sources.seconds / "capture.json", {"seconds": 1234.5})
    return sources


def _similarity(*, is_network: bool) -> dict[str, Any]:
    return {
        "split": "test",
        "n_rows": 40,
        "student_layers": [] if is_network else [1, 2],
        "teacher_layers": [1, 2, 3, 4],
        "cka": [[0.1, 0.2, 0.3, 0.8]] if is_network else [[0.9, 0.5, 0.2, 0.1], [0, None, 0.7, 1]],
    }


def _attentions() -> dict[str, Any]:
    uniform = [[0.2] * 5] * 5
    diagonal = np.eye(5).tolist()
    pairs = [
        {"student_layer": 1, "teacher_layer": 2, "student": uniform, "teacher": diagonal},
        {"student_layer": 2, "teacher_layer": 4, "student": diagonal, "teacher": uniform},
    ]
    texts = {"text": "one $mall <text>", "text_pair": "and its <pair>"}
    text = {**texts, "student_tokens": TOKENS, "teacher_tokens": TOKENS}
    return {"split": "test", "texts": [{**text, "pairs": pairs}]}


def section_of(folder: Path, anchor: str) -> str:
    """Return a section of the page as it is written."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    begin = page.index(f'<section id="{anchor}">')
    return page[begin : page.index("</section>", begin)]


def table_of(report_dir: Path) -> dict[str, dict[str, str]]:
    """Return the first Markdown table as {first word of the model: {heading: cell}}."""
    blocks = (report_dir / "report.md").read_text(encoding="utf-8").split("\n\n")
    lines = next(block for block in blocks if block.startswith("|")).splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines]
    headings, _, *models = rows
    assert all(len(row) == len(headings) for row in rows)
    return {row[0].split()[0].strip("*"): dict(zip(headings, row, strict=True)) for row in models}


def headline_of(report_dir: Path) -> str:
    return (report_dir / "report.md").read_text(encoding="utf-8").split("\n\n")[1]


class Page(HTMLParser):
    """The cells of the page's table, its tags and its attributes."""

    def __init__(self, report_dir: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.rows: list[list[str]] = []
        self._is_in_cell = False
        self.feed((report_dir / "report.html").read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._is_in_cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._is_in_cell &= tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._is_in_cell:
            self.rows[-1][-1] += data
