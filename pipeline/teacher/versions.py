"""Versions of the code that costs a teacher, raised by hand when its results can differ.

A refactoring or an upgrade must not run a teacher again, so these stages go by their version
(see `core.stamp.code_names`). A test fails when the code of one changes: then raise its version
if the same inputs can give other results, and in either case record the code with
`python -m tests.recorded_code`.
"""

FINETUNE = 1
"""Raise it when the same checkpoint, rows and settings can give other weights."""

GENERATION = 1
"""Raise it when the same teacher can write other texts for the same rows."""

EXTRACTION = 1
"""Raise it when the same teacher can give other signals for the same row. Stores carry it in
their identity."""
