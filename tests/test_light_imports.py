"""What can be read, checked and decided without the libraries that compute.

Importing torch, Transformers or scikit-learn takes seconds, and every stage and tool first reads
and checks settings. Only the set of imported modules is looked at, never a time.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.imports import ROOT

COMPUTING = frozenset(
    (
        "accelerate",
        "datasets",
        "huggingface_hub",
        "onnx",
        "onnxruntime",
        "pandas",
        "sacrebleu",
        "scipy",
        "seqeval",
        "sklearn",
        "tokenizers",
        "torch",
        "transformers",
    )
)
DRAWING = frozenset(("matplotlib",))
READING = frozenset(("pyarrow", "zarr"))
"""Light enough, but not needed either where nothing is read."""

SETTINGS = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    for path in (ROOT / "pipeline").rglob("*settings.py")
)

IMPORTED: dict[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "core": (
        (
            "pipeline.core.checkpoint",
            "pipeline.core.fingerprint",
            "pipeline.core.stamp",
            "pipeline.core.processes",
            "pipeline.core.runtime",
        ),
        COMPUTING | DRAWING | READING,
    ),
    "all settings": (tuple(SETTINGS), COMPUTING | DRAWING),
    "tables": (
        ("pipeline.tasks", "pipeline.metrics", "pipeline.evaluate.fidelity"),
        COMPUTING | DRAWING,
    ),
    "projects": (
        (
            "pipeline.project.check",
            "pipeline.project.create",
            "pipeline.project.presets",
            "pipeline.project.recipes",
        ),
        COMPUTING | DRAWING,
    ),
    "stores": (
        (
            "pipeline.store.reader",
            "pipeline.store.view",
            "pipeline.store.writer",
            "pipeline.store_tools.coverage",
            "pipeline.store_tools.repair",
            "pipeline.store_tools.summary",
            "pipeline.store_tools.verify",
        ),
        COMPUTING | DRAWING,
    ),
    "sharing": (("pipeline.share.dvc_remote", "pipeline.share.wanted"), COMPUTING | DRAWING),
    "report": (("pipeline.report.report",), COMPUTING | DRAWING),
    "plan": (("pipeline.teacher.plan", "pipeline.store_tools.plan_text"), COMPUTING | DRAWING),
}
"""Modules by what they are for, and the libraries that importing them must not bring."""

OPENED = """
from pathlib import Path
from pipeline.tasks import TASKS
from pipeline.text.tokens import open_tokens
store, checkpoint, tokens = map(Path, sys.argv[1:])
"""
RUN = {
    "a check of params.yaml": """
from pipeline.core.settings import read_params
from pipeline.project.check import check_params
check_params(read_params())
""",
    "what objectives need": """
from pipeline.core.settings import parse_section
from pipeline.models.architecture import Architecture
from pipeline.objectives.chosen import ObjectivesSettings
from pipeline.signals.models import Models
from pipeline.student.model import model_of
teacher = Architecture(
    model_type="bert", n_layers=4, n_heads=4, hidden_size=16, n_labels=2, head_reads="first"
)
model = model_of({"architecture": "bilstm", "lstm_size": 4}, "students.a")
chosen = parse_section(ObjectivesSettings, {"soft_target": {}, "attentions": {}}, "objectives")
assert chosen.needs(Models(model.shape(teacher, ""), teacher)).student_pooling
""",
    "inspect": OPENED
    + """
from pipeline.store_tools.summary import describe_store, summarise_store
assert describe_store(summarise_store(store))
""",
    "coverage": OPENED
    + """
from pipeline.store.reader import open_store
from pipeline.store_tools.coverage import cover, describe_coverage
found = cover(open_store(store), open_tokens(tokens), [])
assert "no teacher is needed" in describe_coverage(found)
""",
    "verify": OPENED
    + """
from pipeline.store_tools.verify import verify_store
assert verify_store(store, n_threads=1) == []
""",
    "a student's view": OPENED
    + """
from pipeline.train.student import resolve_student
params = {"students": {"a": {"model": {"n_layers": 2}, "objectives": {"cls": {}}}}}
view = resolve_student(params, "a").view(store, open_tokens(tokens))
assert {name for segment in view.manifest.segments for name in segment.arrays} == {"cls", "logits"}
""",
    "a plan of nothing": OPENED
    + """
from pipeline.teacher.capture_settings import CaptureSettings
from pipeline.teacher.plan import make_plan
from pipeline.store_tools.plan_text import describe_plan
signals = {"cls": {"encoding": "float32"}, "attentions": {"layers": (2, 4), "encoding": "float32"}}
settings = CaptureSettings.model_validate({"signals": signals})
task = TASKS["classification"]
plan = make_plan(
    checkpoint, open_tokens(tokens), task, settings, store, device=None, is_finetuned=True
)
assert not plan.works and "0 to compute" in describe_plan(plan)
""",
    "what is off": OPENED
    + """
from pipeline.text.tokenise import write_no_variants
Path("augmented").mkdir()
table = open_tokens(tokens)
summary = write_no_variants(table, TASKS["classification"], Path("augmented"))
assert summary["splits"]["train"]["n_rows"] == 0
""",
}
"""What is done, by what it is."""


def imported_by(code: str, *arguments: str, folder: Path = ROOT) -> set[str]:
    """Return the top-level modules that are there when a new process has run some code."""
    last = "\nimport json\nprint(json.dumps([*{name.split('.')[0] for name in sys.modules}]))"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{code}{last}",
            *arguments,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = set(json.loads(done.stdout.splitlines()[-1]))
    assert {"pipeline", "pydantic"} <= found
    return found


@pytest.mark.parametrize("name", IMPORTED)
def test_modules_are_imported_without_libraries_that_compute(name: str) -> None:
    """Catches one import at the top of a file that costs every stage and tool seconds."""
    modules, forbidden = IMPORTED[name]
    assert modules
    code = "".join(f"import {module}\n" for module in modules)
    assert forbidden & imported_by(code) == set()


@pytest.mark.parametrize("name", RUN)
def test_what_computes_nothing_needs_no_library_that_computes(
    name: str, even_store: Path, checkpoint: Path, even_tokens_dir: Path, tmp_path: Path
) -> None:
    """Catches an import within a function that is run before there is anything to compute."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    arguments = [str(path) for path in (even_store, checkpoint, even_tokens_dir)]
    found = imported_by(RUN[name], *arguments, folder=tmp_path)
    assert (COMPUTING | DRAWING) & found == set()


@pytest.mark.parametrize(
    ("code", "library"),
    [
        (
            "from pipeline.objectives.settings import OBJECTIVES\n"
            "OBJECTIVES['hard_label']().build(None)",
            "torch",
        ),
        (
            "from pipeline.student.network_settings import STUDENTS\n"
            "STUDENTS['text_cnn']().network_class()",
            "transformers",
        ),
        ("import pipeline.teacher.capture", "torch"),
    ],
)
def test_what_computes_imports_its_library(code: str, library: str) -> None:
    """Catches a test that would find nothing whatever was imported."""
    assert library in imported_by(code)


def test_settings_are_found() -> None:
    """Catches a rule for files' names that finds no settings any more."""
    assert "pipeline.student.network_settings" in SETTINGS
    assert "pipeline.evaluate.settings" in SETTINGS
    assert len(SETTINGS) >= 10
