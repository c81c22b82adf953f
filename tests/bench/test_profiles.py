"""What a sample of a profile counts for."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))

from profiles import OTHER, PARTS, part_of

OUTER = "_runner (granian/wsgi.py:57)"
ENDPOINT = "OneTask.get (duely/tasks/endpoints.py:184)"


@pytest.mark.parametrize(
    "inner, part",
    [
        ("PreparedStatements.execute (duely/database/postgresql/base.py:73)", "database driver and cursors"),
        ("show_task (duely/tasks/schemas.py:461)", "rows to JSON"),
        ("visible_task (duely/tasks/queries.py:71)", "querysets, models, SQL"),
        ("_leave (duely/database/slots.py:49)", "request slots"),
        ("<lambda> (<string>:1)", "task rules"),
    ],
)
def test_a_sample_counts_for_the_innermost_file_that_is_known(inner: str, part: str) -> None:
    assert part_of([OUTER, ENDPOINT, inner]) == part


def test_a_sample_of_nothing_known_counts_for_the_rest() -> None:
    assert part_of(["Thread._bootstrap (threading.py:1002)"]) == OTHER


def test_the_page_about_performance_names_the_parts_that_the_profile_has() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "performance.md").read_text()
    for part in (*PARTS, OTHER):
        assert page.count(f"| {part} |") == 2, part
