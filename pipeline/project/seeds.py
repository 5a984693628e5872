"""One student over several seeds: how much of a difference is chance.

A training depends on its seed (the order of the rows, dropout, new weights), so one score says
little about a method. The students that are added here differ from theirs in `training.seed`
alone, and DVC trains each once.
"""

import difflib
from collections.abc import Sequence

from pipeline.core.errors import SettingsError
from pipeline.core.settings import parse_params, parse_section
from pipeline.project.params_text import student_lines, with_students
from pipeline.train.settings import StudentSettings, training_of


def add_seeds(text: str, name: str, seeds: Sequence[int]) -> tuple[str, list[str]]:
    """Return the text of params.yaml with a student for each seed, and the names of the new ones.

    `text` is that of a params file without faults. The students are called `NAME-seedN`; one
    that is there already, just as it would be added, is left as it is.

    Raises:
        SettingsError: there is no such student, it has one of the seeds itself, or another
            student has the name of a new one.
    """
    params = parse_params(text)
    students = params["students"]
    if name not in students:
        near = difflib.get_close_matches(name, map(str, students), n=1)
        remedy = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(students)}"
        raise SettingsError([f"params.yaml: there is no student '{name}'; {remedy}"])
    settings, place = students[name], f"students.{name}"
    own = training_of(params, parse_section(StudentSettings, settings, place), place).seed
    faults, added = [], {}
    for seed in dict.fromkeys(seeds):
        copy = f"{name}-seed{seed}"
        seeded = {**settings, "training": {**(settings.get("training") or {}), "seed": seed}}
        if seed == own:
            faults.append(f"params.yaml: {place} has the seed {seed} itself; leave it out")
        elif copy not in students:
            added[copy] = seeded
        elif students[copy] != seeded:
            faults.append(
                f"params.yaml: students.{copy} differs from {place} in more than the seed; "
                "rename or remove it"
            )
    if faults:
        raise SettingsError(faults)
    if not added:
        return text, []
    lines = [line for copy, seeded in added.items() for line in student_lines(copy, seeded)]
    return with_students(text, lines, added, "copy the student by hand"), list(added)
