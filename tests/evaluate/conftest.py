"""Metrics files as the evaluate stage writes them."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

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

Metrics = dict[str, Any]


def _make_metrics(student: str, accuracy: float = 0.85) -> Metrics:
    split = {
        "n_rows": 1000,
        "n_labelled": 800,
        "student": {"accuracy": accuracy, "macro_f1": 0.83, "expected_calibration_error": 0.047},
        "teacher": TEACHER_QUALITY,
        "fidelity": {"agreement": 0.93, "kl": 0.1234},
    }
    metrics = {
        "student": student,
        "architecture": "transformer",
        "n_layers": 3,
        "objectives": ["hard_label", "soft_target"],
        "labels": ["a", "b"],
        "splits": {"test": split, "validation": deepcopy(split)},
        "cost": {"device": "cpu", "n_threads": 2, "student": COST, "teacher": TEACHER_COST},
        "work": {"student": WORK, "teacher": TEACHER_WORK},
    }
    return deepcopy(metrics)


@pytest.fixture
def make_metrics() -> Callable[..., Metrics]:
    """Make the metrics of a student by name and accuracy, both splits labelled and alike."""
    return _make_metrics


@pytest.fixture
def write_metrics(tmp_path: Path) -> Callable[[Metrics], Path]:
    """Write metrics to a file numbered in the order of writing; return its path."""
    folder = tmp_path / "metrics"
    folder.mkdir()

    def write(metrics: Metrics) -> Path:
        path = folder / f"{len(list(folder.iterdir())):02}.json"
        path.write_text(json.dumps(metrics), encoding="utf-8")
        return path

    return write
