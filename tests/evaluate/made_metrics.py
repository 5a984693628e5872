"""The metrics file of a made-up student."""

from copy import deepcopy
from typing import Any

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


def make_student_metrics(student: str, accuracy: float = 0.85) -> Metrics:
    """Return the metrics of a student by name and accuracy, both splits labelled and alike."""
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
