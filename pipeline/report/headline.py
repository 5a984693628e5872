"""What a reader must know first: who is useless, who beats the teacher, what distillation gains.

Students that differ in their seed alone count as one, with the mean of their scores. The first
sentence says that the teacher or a student is useless, where one is, and what distillation
gains, where a model was trained both with the teacher and on the labels alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from statistics import mean

from pipeline.core.fingerprint import digest_json
from pipeline.evaluate.usefulness import learns_from_labels_alone
from pipeline.report.comparison import Comparison, SeedGroup, group_by_seed

_N_OTHER_GAINS = 2


@dataclass(frozen=True)
class Gain:
    """What distillation adds to one model.

    Both sides are students of equal `model` settings, so of the same architecture, size and
    start. They differ in their objectives, and may differ in texts and length of training.
    """

    distilled: tuple[SeedGroup, ...]
    """The best that learn from the teacher; more than one where their written scores are equal."""
    labels_only: SeedGroup
    """The best that learns from the labels alone."""
    value: float
    """How much better the first of `distilled` is, in the unit of the metric; below 0 worse."""

    @property
    def is_within_deviation(self) -> bool:
        """Whether the seeds of both sides differ by as much."""
        ours, theirs = self.distilled[0].deviation, self.labels_only.deviation
        if ours is None or theirs is None:
            return False
        return abs(self.value) <= hypot(ours, theirs)


@dataclass(frozen=True)
class Findings:
    """All of it, on the split that students are compared on."""

    best: tuple[SeedGroup, ...]
    """The best first, then those whose written scores are equal to its."""
    n_contenders: int
    teacher_fault: str
    """Why the teacher is useless, a clause about `it`; empty where it is not."""
    beaten_by: tuple[SeedGroup, ...]
    """Those that learn from labels alone and are better than the teacher, the best first."""
    useless: tuple[tuple[str, str], ...]
    """Names of useless students, each with a clause about `it`."""
    gains: tuple[Gain, ...]
    """The largest first, one for each model that was trained in both ways."""

    @property
    def is_best_useless(self) -> bool:
        """Whether no student is of any use."""
        return any(member.student in dict(self.useless) for member in self.best[0].members)


def find(comparison: Comparison) -> Findings:
    """Return what is to be said of these students.

    A useless student is never the best, nor an example of a gain, while there is another.
    Without labels nobody is useless and nothing is gained.
    """
    useless = {
        one.student: fault for one in comparison.students if (fault := comparison.fault(one))
    }
    everyone = group_by_seed(comparison)
    useful = [
        one for one in everyone if any(member.student not in useless for member in one.members)
    ]
    ranked = sorted(useful or everyone, key=lambda one: _rank(comparison, one))
    is_labelled = bool(comparison.labelled_split_names)
    alone = [one for one in ranked if is_labelled and _learns_from_labels_alone(comparison, one)]
    measure, teacher_score = comparison.measure, comparison.teacher_score
    return Findings(
        best=_equal_to_first(comparison, ranked),
        n_contenders=len(everyone),
        teacher_fault=comparison.teacher_fault,
        beaten_by=tuple(one for one in alone if measure.is_better(one.score, teacher_score)),
        useless=tuple(useless.items()),
        gains=_gains(comparison, ranked, everyone) if is_labelled else (),
    )


def _rank(comparison: Comparison, one: SeedGroup) -> tuple[float, float, float, str]:
    """Return what is smallest of the best: of equal ones of the smallest, then of the closest."""
    closeness = comparison.fidelities[-1]
    return (
        comparison.measure.loss(one.score, 0.0),
        mean(member.cost.student.n_parameters for member in one.members),
        mean(
            closeness.loss(comparison.split_of(member).fidelity[closeness.name], 0.0)
            for member in one.members
        ),
        one.name,
    )


def _equal_to_first(comparison: Comparison, ranked: Sequence[SeedGroup]) -> tuple[SeedGroup, ...]:
    write = comparison.measure.write
    return tuple(one for one in ranked if write(one.score) == write(ranked[0].score))


def _gains(
    comparison: Comparison, useful: Sequence[SeedGroup], everyone: Sequence[SeedGroup]
) -> tuple[Gain, ...]:
    """Return a gain for each model that has both kinds of students, the largest first."""
    gains = []
    twins_by_model: dict[str, list[SeedGroup]] = {}
    for one in sorted(everyone, key=lambda one: _rank(comparison, one)):
        if (model := _model_of(comparison, one)) and _learns_from_labels_alone(comparison, one):
            twins_by_model.setdefault(model, []).append(one)
    for model, twins in twins_by_model.items():
        distilled = [
            one
            for one in useful
            if _model_of(comparison, one) == model
            and not _learns_from_labels_alone(comparison, one)
        ]
        if distilled:
            best = _equal_to_first(comparison, distilled)
            value = comparison.measure.loss(twins[0].score, best[0].score)
            gains.append(Gain(best, twins[0], value))
    return tuple(sorted(gains, key=lambda gain: -gain.value))


def _model_of(comparison: Comparison, one: SeedGroup) -> str | None:
    """Return a digest of what a student is, whatever it learns from; None where it is unknown."""
    own = comparison.settings.get(one.members[0].student)
    if not isinstance(own, Mapping) or not isinstance(own.get("model"), Mapping):
        return None
    said = {name: value for name, value in own["model"].items() if value is not None}
    return digest_json({"architecture": "transformer", **said})


def _learns_from_labels_alone(comparison: Comparison, one: SeedGroup) -> bool:
    first = one.members[0]
    return learns_from_labels_alone(first.objectives, comparison.settings.get(first.student) or {})


def write_headline(comparison: Comparison, findings: Findings) -> str:
    """Return the result in a few sentences, as plain text."""
    if not comparison.labelled_split_names:
        return _without_labels(comparison, findings)
    first = _first_sentence(comparison, findings)
    return " ".join([*([f"{first}."] if first else []), *_second_part(comparison, findings)])


def write_warnings(findings: Findings) -> tuple[str, ...]:
    """Return sentences about useless students, where the headline only has their names."""
    if len(findings.useless) < 2:
        return ()
    return tuple(f"{name} is useless: {fault}." for name, fault in findings.useless)


def join(names: Sequence[str]) -> str:
    """Return names as they stand in a sentence."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _first_sentence(comparison: Comparison, findings: Findings) -> str:
    """Return it without its full stop; empty where nothing is wrong and nothing to compare."""
    clauses = []
    if findings.teacher_fault:
        clauses.append(f"the teacher is useless: {findings.teacher_fault}")
    elif findings.beaten_by:
        clauses.append(_beaten(comparison, findings.beaten_by))
    if findings.gains and not findings.teacher_fault:
        clauses.append(_gain(comparison, findings.gains[0]))
        clauses += [_other_gain(comparison, one) for one in findings.gains[1 : 1 + _N_OTHER_GAINS]]
    if findings.useless:
        clauses.append(_useless(findings.useless))
    sentence = "; ".join(clauses)
    return sentence[:1].upper() + sentence[1:] if sentence[:4] == "the " else sentence


def _beaten(comparison: Comparison, winners: Sequence[SeedGroup]) -> str:
    first, *others = winners
    also = f" (so {'do' if len(others) > 1 else 'does'} {_names(others)})" if others else ""
    return (
        f"the teacher is beaten by {first.name}, which learnt from the labels alone{also}: its "
        f"{comparison.measure.heading} on {comparison.compared_on} is "
        f"{comparison.measure.write_with_unit(comparison.teacher_score)}, that of {first.name} "
        f"{_score(comparison, first)}"
    )


def _gain(comparison: Comparison, gain: Gain) -> str:
    measure = comparison.measure
    names, value = _names(gain.distilled), measure.write_difference(abs(gain.value))
    what = f"{measure.heading} on {comparison.compared_on}"
    verb = "reaches" if len(gain.distilled) == 1 else "reach"
    costs = _costs(comparison, gain.distilled[0])
    teacher = measure.write_with_unit(comparison.teacher_score)
    beside = f" beside the teacher's {teacher}{costs and f', {costs}'}"
    twin = (
        f"the same model trained on the labels alone, {gain.labels_only.name}, reaches "
        f"{_score(comparison, gain.labels_only)}"
    )
    chance = ", a difference within the deviation of the seeds" if gain.is_within_deviation else ""
    raises = "raises" if measure.greater_is_better else "lowers"
    if float(value) and gain.value > 0:
        beginning = f"Distillation {raises} {what} by {_with_unit(comparison, value)}"
    else:
        beginning = f"Distillation does not {raises[:-1]} {what}"
    score = _score(comparison, gain.distilled[0])
    return f"{beginning}: {names} {verb} {score}{beside}, where {twin}{chance}"


def _other_gain(comparison: Comparison, gain: Gain) -> str:
    names = _names(gain.distilled)
    is_one = len(gain.distilled) == 1
    written = comparison.measure.write_difference(abs(gain.value))
    labels = gain.labels_only.name
    if not float(written):
        return f"{names} {'equals' if is_one else 'equal'} {labels}"
    if gain.value > 0:
        verb = "gains" if is_one else "gain"
        return f"{names} {verb} {_with_unit(comparison, written)} over {labels}"
    return f"{names} {'loses' if is_one else 'lose'} {_with_unit(comparison, written)} to {labels}"


def _useless(useless: Sequence[tuple[str, str]]) -> str:
    if len(useless) == 1:
        ((name, fault),) = useless
        return f"{name} is useless: {fault}"
    return f"{join([name for name, _ in useless])} are useless"


def _second_part(comparison: Comparison, findings: Findings) -> list[str]:
    """Return the sentences about the teacher's score and the best student."""
    measure, split = comparison.measure, comparison.compared_on
    best, *equal = findings.best
    teacher = measure.write_with_unit(comparison.teacher_score)
    n_contenders = findings.n_contenders
    who = f"The best of {n_contenders} students" if n_contenders > 1 else "The student"
    also = f" (as {'do' if len(equal) > 1 else 'does'} {_names(equal)})" if equal else ""
    reaches = f"{who}, {best.name}, reaches {_score(comparison, best)}{also}"
    if findings.teacher_fault:
        return [
            f"{reaches}, the teacher {teacher}.",
            "Students cannot learn from such a teacher: fine-tune it for more epochs, or at "
            "another learning rate.",
        ]
    if findings.gains and best in findings.gains[0].distilled:
        names = _names(findings.best)
        return [f"{names} {'are' if equal else 'is'} the best of {n_contenders} students."]
    costs = _costs(comparison, best)
    beside = f": {_drop(comparison, best)}{costs and f', {costs}'}"
    if findings.is_best_useless:
        beside = ""
    return [f"The teacher's {measure.heading} on {split} is {teacher}.", f"{reaches}{beside}."]


def _without_labels(comparison: Comparison, findings: Findings) -> str:
    best = findings.best[0]
    n_contenders = findings.n_contenders
    who = f"the closest of {n_contenders} students" if n_contenders > 1 else "the student"
    costs = _costs(comparison, best)
    return (
        "No row has a label, so only closeness to the teacher is known: "
        f"{who}, {best.name}, {_closeness(comparison, _score(comparison, best))}"
        f"{costs and f', {costs}'}."
    )


def _closeness(comparison: Comparison, score: str) -> str:
    split, measure = comparison.compared_on, comparison.measure
    if measure.name == "agreement":
        return f"agrees with it on {score} of the {split} {comparison.things}"
    return f"has a {measure.heading} of {score} {measure.unit.name} with it on {split}"


def _score(comparison: Comparison, one: SeedGroup) -> str:
    """Return a mean score as it stands in a sentence, with its deviation over seeds."""
    measure = comparison.measure
    score = measure.write_with_unit(one.score)
    if one.deviation is None:
        return score
    deviation = measure.write_difference(one.deviation)
    return f"{score} (± {deviation} over {len(one.members)} seeds)"


def _drop(comparison: Comparison, best: SeedGroup) -> str:
    """Return how far a score is above or below the teacher's."""
    difference = best.score - comparison.teacher_score
    written = comparison.measure.write_difference(abs(difference))
    if not float(written):
        return f"no {comparison.measure.loss_heading}"
    return f"{_with_unit(comparison, written)} {'more' if difference > 0 else 'less'}"


def _with_unit(comparison: Comparison, written: str) -> str:
    unit = comparison.measure.unit_of_differences
    return f"{written}{unit and f' {unit}'}"


def _costs(comparison: Comparison, one: SeedGroup) -> str:
    """Return how much smaller and faster than the teacher a student is, as far as is known."""
    smaller = [comparison.times_smaller(member) for member in one.members]
    faster = [comparison.times_faster(member) for member in one.members]
    phrases = [
        _times(mean(known), *words)
        for ratios, words in (
            (smaller, ("smaller", "larger", "as large")),
            (faster, ("faster", "slower", "as fast")),
        )
        if (known := [ratio for ratio in ratios if ratio is not None])
    ]
    return " and ".join(phrases)


def _times(ratio: float, more: str, less: str, equal: str) -> str:
    if f"{ratio:.1f}" == "1.0":
        return equal
    return f"{ratio:.1f} times {more}" if ratio > 1 else f"{1 / ratio:.1f} times {less}"


def _names(contenders: Sequence[SeedGroup]) -> str:
    return join([one.name for one in contenders])
