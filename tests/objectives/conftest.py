"""The fixture that draws cases."""

import pytest

from tests.objectives.cases import MakeCase, case_maker


@pytest.fixture
def make_case() -> MakeCase:
    """Return a function that draws a case; see `case_maker`."""
    return case_maker()
