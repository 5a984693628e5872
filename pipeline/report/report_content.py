"""All that the report says, before it is marked up."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.evaluate.shown_parts import Provenance
from pipeline.report.comparison import Comparison
from pipeline.report.disagreements import Disagreement, find_disagreements
from pipeline.report.evidence import Evidence, read_evidence
from pipeline.report.findings import Findings, find
from pipeline.report.provenance_text import describe_provenance
from pipeline.report.sections import Section, build_sections
from pipeline.report.seed_groups import SeedColumn, SeedGroup, build_seed_columns, group_by_seed
from pipeline.report.stage_seconds import StageRun, read_stage_seconds
from pipeline.report.text_examples import TextExample, find_text_examples


@dataclass(frozen=True)
class Sources:
    """Where the report finds what it shows beside the metrics."""

    evaluations: Path
    """Holds a folder for each student, as `evaluate` writes it."""
    curves: Path
    """Holds a folder for each student, with DVCLive's TSV files."""
    seconds: Path
    """Holds what stages noted of their times."""
    settings: Mapping[str, Any]
    """Section `students` of params.yaml, to find those that differ in their seed alone."""


@dataclass(frozen=True)
class Content:
    """What the report says of these students."""

    comparison: Comparison
    findings: Findings
    sections: tuple[Section, ...] = ()
    groups: tuple[SeedGroup, ...] = ()
    group_columns: tuple[SeedColumn, ...] = ()
    disagreements: tuple[tuple[str, tuple[Disagreement, ...]], ...] = ()
    """By student."""
    texts: tuple[tuple[str, tuple[TextExample, ...]], ...] = ()
    """By student, where texts were written or questions answered."""
    provenance: tuple[tuple[str, str], ...] = ()
    """Pairs of a name and a text."""
    stages: tuple[StageRun, ...] = ()


def read_content(comparison: Comparison, sources: Sources) -> Content:
    """Return all that is known of the compared students.

    Raises:
        PipelineError: a file is there and is not what its stage writes.
    """
    names = [one.student for one in comparison.students]
    evidence = {
        name: read_evidence(
            sources.evaluations / name,
            sources.curves / name,
            comparison.compared_on,
            comparison.students[0].task,
        )
        for name in names
    }
    groups = group_by_seed(comparison.students, sources.settings)
    return Content(
        comparison=comparison,
        findings=find(comparison, sources.settings),
        sections=build_sections(comparison, evidence),
        groups=groups,
        group_columns=build_seed_columns(comparison, groups) if groups else (),
        disagreements=_find_disagreements(comparison, evidence),
        texts=tuple(
            (name, find_text_examples(one.texts))
            for name, one in evidence.items()
            if not isinstance(one.texts, str)
        ),
        provenance=_describe(evidence),
        stages=read_stage_seconds(sources.seconds, names),
    )


def _find_disagreements(
    comparison: Comparison, evidence: Mapping[str, Evidence]
) -> tuple[tuple[str, tuple[Disagreement, ...]], ...]:
    labels = comparison.students[0].labels
    return tuple(
        (name, find_disagreements(one.predictions, labels))
        for name, one in evidence.items()
        if not isinstance(one.predictions, str)
    )


def _describe(evidence: Mapping[str, Evidence]) -> tuple[tuple[str, str], ...]:
    known = {
        name: one.provenance
        for name, one in evidence.items()
        if isinstance(one.provenance, Provenance)
    }
    return describe_provenance(known) if known else ()
