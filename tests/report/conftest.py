"""Metrics files as the evaluate stage writes them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.report.made_report import Metrics, make_student_metrics


@pytest.fixture
def make_metrics() -> Callable[..., Metrics]:
    """Make the metrics of a student by name and accuracy, both splits labelled and alike."""
    return make_student_metrics


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
