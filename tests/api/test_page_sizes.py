"""Pages end where an answer is full: limits in rows say nothing about bytes."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cast import Api, adam, alice
from duely.api.page_sizes import MAX_PAGE_BYTES
from duely.tasks.rules import MAX_DESCRIPTION_BYTES

pytestmark = pytest.mark.django_db

PLAIN = "x" * MAX_DESCRIPTION_BYTES
ESCAPED = "\x01" * MAX_DESCRIPTION_BYTES
"""Six bytes of JSON for each."""


def fill(api: Api, number: int, description: str) -> list[str]:
    """So many tasks, every third with a due date; returns their ids."""
    ids = []
    for index in range(number):
        task = {"title": f"word {index}", "description": description}
        due = {"due_date": f"2099-01-{index + 1:02}"} if index % 3 == 0 else {}
        response = api.post("tasks/", {**task, **due})
        assert response.status_code == 201, response.content
        ids.append(response.json()["id"])
    return ids


def walk(api: Api, path: str) -> list[dict[str, Any]]:
    """The pages of a list by cursor. Each is as full as it may be, and no fuller."""
    pages, query = [], ""
    while True:
        response = api.get(path + query)
        assert response.status_code == 200, response.content
        page = response.json()
        where = page["pagination"]
        assert len(page["data"]) == where["total_returned"] > 0
        assert len(response.content) <= MAX_PAGE_BYTES
        assert where["has_more"] == (where["next_cursor"] is not None)
        pages.append(page)
        if not where["has_more"]:
            return pages
        query = f"&cursor={where['next_cursor']}"


LISTS = [
    "tasks/?limit=100",
    "tasks/?limit=100&ordering=due_date",
    "tasks/?limit=100&search=word",
    "tasks/?limit=100&tag__ne=home",
    "tasks/?limit=100&fields=id,description",
]


@pytest.mark.parametrize("description", [PLAIN, ESCAPED], ids=["plain", "escaped"])
@pytest.mark.parametrize("path", LISTS)
def test_a_page_of_tasks_ends_at_one_mebibyte(path: str, description: str) -> None:
    me = Api(alice())
    ids = fill(me, 20, description)

    pages = walk(me, path)

    assert sorted(task["id"] for page in pages for task in page["data"]) == sorted(ids)
    assert all(task["description"] == description for page in pages for task in page["data"])
    assert len(pages) > 1


@pytest.mark.parametrize("person", [alice, adam])
def test_a_page_of_the_log_ends_at_one_mebibyte(person: Any) -> None:
    me = Api(person())
    ids = fill(me, 9, PLAIN)
    for task_id in ids:
        assert me.patch(f"tasks/{task_id}/", {"description": ESCAPED}).status_code == 200

    pages = walk(me, "activity-logs/?limit=100")

    changes = [entry["changes"]["description"] for page in pages for entry in page["data"]]
    assert changes == [[PLAIN, ESCAPED]] * 9 + [[None, PLAIN]] * 9
    assert len(pages) > 1


def test_a_page_of_the_trash_ends_at_one_mebibyte() -> None:
    me = Api(alice())
    ids = fill(me, 20, PLAIN)
    assert me.delete("tasks/?confirm=true").status_code == 200

    pages = walk(me, "tasks/trash/?limit=100")

    assert sorted(task["id"] for page in pages for task in page["data"]) == sorted(ids)
    assert len(pages) > 1


def test_texts_that_do_not_fit_are_not_read() -> None:
    me = Api(alice())
    fill(me, 30, PLAIN)

    with CaptureQueriesContext(connection) as queries:
        page = me.get("tasks/?limit=100").json()

    shown = page["pagination"]["total_returned"]
    statements = [query["sql"] for query in queries.captured_queries if "tasks_task" in query["sql"]]
    assert ["CASE WHEN" in sql for sql in statements] == [True, False, False]
    assert '"description"' not in statements[1].replace('length(CAST("tasks_task"."description" AS BLOB))', "").replace(
        'octet_length("tasks_task"."description")', ""
    )
    assert f"LIMIT {shown + 1}" in statements[2]


@pytest.mark.parametrize("query", ["page=1&page_size=20", "page_size=20&search=word"])
def test_a_numbered_page_over_one_mebibyte_is_refused(query: str) -> None:
    me = Api(alice())
    fill(me, 21, PLAIN)

    response = me.get(f"tasks/?{query}")

    assert (response.status_code, response.json()["code"]) == (400, "page_too_large")


def test_a_numbered_page_whose_escapes_make_it_too_large_is_refused() -> None:
    me = Api(alice())
    fill(me, 4, ESCAPED)

    assert me.get("tasks/?page=1&page_size=4").json()["code"] == "page_too_large"
    assert me.get("tasks/?page=2&page_size=2").json()["pagination"]["total"] == 4


@pytest.mark.parametrize("query", ["page=2&page_size=15", "page=1&page_size=100&fields=id,title"])
def test_a_numbered_page_that_fits_is_complete(query: str) -> None:
    me = Api(alice())
    fill(me, 21, PLAIN)

    where = me.get(f"tasks/?{query}").json()["pagination"]

    assert (where["total"], where["total_returned"]) == (21, 6 if "page=2" in query else 21)
