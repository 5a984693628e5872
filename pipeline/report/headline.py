"""The first sentences of the report: what comes of it all, good or bad.

The first sentence says that the teacher or a student is useless, where one is, and what
distillation gains, where a model was trained both with the teacher and on the labels alone.
"""

from collections.abc import Sequence
from statistics import mean

from pipeline.report.comparison import Comparison
from pipeline.report.findings import Contender, Findings, Gain

_N_OTHER_GAINS = 2


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


def _beaten(comparison: Comparison, winners: Sequence[Contender]) -> str:
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
    raises = "raises" if measure.is_larger_better else "lowers"
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


def _score(comparison: Comparison, one: Contender) -> str:
    """Return a mean score as it stands in a sentence, with its deviation over seeds."""
    measure = comparison.measure
    score = measure.write_with_unit(one.score)
    if one.deviation is None:
        return score
    deviation = measure.write_difference(one.deviation)
    return f"{score} (± {deviation} over {len(one.members)} seeds)"


def _drop(comparison: Comparison, best: Contender) -> str:
    """Return how far a score is above or below the teacher's."""
    difference = best.score - comparison.teacher_score
    written = comparison.measure.write_difference(abs(difference))
    if not float(written):
        return f"no {comparison.measure.loss_heading}"
    return f"{_with_unit(comparison, written)} {'more' if difference > 0 else 'less'}"


def _with_unit(comparison: Comparison, written: str) -> str:
    unit = comparison.measure.unit_of_differences
    return f"{written}{unit and f' {unit}'}"


def _costs(comparison: Comparison, one: Contender) -> str:
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


def _names(contenders: Sequence[Contender]) -> str:
    return join([one.name for one in contenders])
