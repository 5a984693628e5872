"""What an edit of a text added, where it may take nothing away."""


def added_lines(before: str, after: str) -> list[str]:
    """Return the lines that are new, after checking that all others are there in order."""
    old, new = before.splitlines(), []
    for line in after.splitlines():
        if old and line == old[0]:
            old.pop(0)
        else:
            new.append(line)
    assert old == []
    return new
