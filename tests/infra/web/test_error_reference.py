"""Each error is on the reference page, with a name, a status and words."""

from pathlib import Path

import pytest

from shopfloor.base import errors as base_errors
from shopfloor.base.errors import ShopfloorError
from shopfloor.infra.web import errors as web_errors
from shopfloor.infra.web.error_reference import reference

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "errors.md"
KNOWN = [
    each
    for module in (base_errors, web_errors)
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, ShopfloorError) and each is not ShopfloorError
]


@pytest.mark.parametrize("error", KNOWN, ids=lambda error: error.code())
def test_an_error_has_a_status_a_title_of_its_own_and_a_place_on_the_page(error):
    assert 400 <= error.status < 600
    assert error.title
    assert error.__doc__
    assert f"| `{error.code()}` | {error.status} |" in PAGE.read_text()


def test_the_page_is_ordered_and_tells_what_may_be_tried_again():
    lines = [line for line in reference(KNOWN).splitlines() if line.startswith("| `")]
    assert lines == sorted(lines, key=lambda line: (line.split("|")[2], line.split("|")[1]))
    assert any("`unavailable` | 503 | yes | A part that is needed does not answer." in line for line in lines)
    assert len(lines) == len(KNOWN)
