"""Pages of lists: by cursor, by number, and the choice of fields."""

import base64
import itertools
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import pytest_django
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cast import Api, adam, alice, bob, faults
from contract import Operation, operations
from duely.core.clock import now
from duely.core.ids import new_id
from duely.tasks.models import Task

pytestmark = pytest.mark.django_db


def fill(api: Api, number: int, **columns: Any) -> list[str]:
    """So many tasks, a minute apart; returns their ids, oldest first."""
    start = now() - timedelta(days=1)
    rows = [
        Task(
            **{
                "id": new_id(),
                "owner_id": api.user.id,
                "title": f"Task {index % 7}",
                "description": "",
                "status": "pending",
                "priority": index % 4 + 1,
                "tags": [],
                "tag_keys": [],
                "reminders": [],
                "due_at": start + timedelta(hours=index % 5) if index % 3 else None,
                "created_at": start + timedelta(minutes=index),
                "updated_at": start,
                **columns,
            }
        )
        for index in range(number)
    ]
    Task.objects.bulk_create(rows)
    return [str(row.id) for row in rows]


def page(api: Api, query: str) -> dict[str, Any]:
    response = api.get(f"tasks/?{query}")
    assert response.status_code == 200, response.content
    return response.json()


def ids(page: dict[str, Any]) -> list[str]:
    return [item["id"] for item in page["data"]]


def refused(api: Api, query: str) -> Any:
    response = api.get(f"tasks/?{query}")
    assert response.status_code == 400, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    return response


def assert_invalid_cursor(api: Api, query: str) -> None:
    assert refused(api, query).json()["code"] == "invalid_cursor"


def test_an_empty_list_is_an_empty_page() -> None:
    assert page(Api(alice()), "") == {
        "data": [],
        "pagination": {"next_cursor": None, "has_more": False, "limit": 20, "total_returned": 0},
        "meta": {"version": "1.0"},
    }


def test_a_page_has_twenty_items_and_the_last_one_the_rest() -> None:
    me = Api(alice())
    newest_first = fill(me, 50)[::-1]
    first = page(me, "")
    assert ids(first) == newest_first[:20]
    cursor = first["pagination"].pop("next_cursor")
    assert first["pagination"] == {"has_more": True, "limit": 20, "total_returned": 20}
    second = page(me, f"cursor={cursor}")
    last = page(me, f"cursor={second['pagination']['next_cursor']}")
    assert ids(second) + ids(last) == newest_first[20:]
    assert last["pagination"] == {"next_cursor": None, "has_more": False, "limit": 20, "total_returned": 10}


@pytest.mark.parametrize("number", [1, 5, 99, 100])
def test_a_full_last_page_has_no_cursor(number: int) -> None:
    me = Api(alice())
    fill(me, number)
    assert page(me, f"limit={number}")["pagination"] == {
        "next_cursor": None,
        "has_more": False,
        "limit": number,
        "total_returned": number,
    }


def test_the_limit_may_change_from_page_to_page() -> None:
    me = Api(alice())
    expected = fill(me, 20)[::-1]
    first = page(me, "limit=3")
    second = page(me, f"limit=100&fields=id&cursor={first['pagination']['next_cursor']}")
    assert ids(first) + ids(second) == expected


@pytest.mark.parametrize(
    "limit", ["0", "-1", "101", "1e2", "1.0", "", " 5", "+5", "0x10", "５", "²", "9" * 400, "null", "5,6", "%00", "1_0"]
)
@pytest.mark.parametrize("name", ["limit", "page_size"])
def test_a_page_has_one_to_a_hundred_items(name: str, limit: str) -> None:
    me = Api(alice())
    response = refused(me, f"{name}={limit if limit.startswith('%') else quote(limit)}")
    assert list(faults(response)) == [name]


ORDERINGS = ["created_at", "-created_at", "title", "-title", "due_date", "-due_date", "priority,-due_date,title", "id"]


@pytest.mark.parametrize("ordering", ORDERINGS)
def test_a_walk_neither_repeats_nor_hides_a_row_while_others_come_and_go(ordering: str) -> None:
    me = Api(alice())
    dice = random.Random(ordering)
    staying = set(fill(me, 60))
    seen: list[str] = []
    new: set[str] = set()
    gone: set[str] = set()
    query = f"ordering={ordering}&limit=7"
    here = page(me, query)
    while True:
        seen += ids(here)
        cursor = here["pagination"]["next_cursor"]
        if cursor is None:
            break
        # One row behind, one ahead, and often the very row that the cursor stands on.
        removed = set(dice.sample(sorted(staying), 2)) | ({ids(here)[-1]} if dice.random() < 0.5 else set())
        Task.objects.filter(pk__in=removed).update(deleted_at=now())
        staying -= removed
        gone |= removed
        new |= set(fill(me, 2, title=f"Task {dice.randrange(9)}", priority=dice.randint(1, 4)))
        here = page(me, f"{query}&cursor={cursor}")
    assert len(seen) == len(set(seen))
    assert staying - new <= set(seen)
    assert set(seen) <= staying | gone | new
    assert gone & set(seen)
    assert gone - set(seen)


def cursor_of(api: Api, query: str = "limit=3") -> str:
    return page(api, query)["pagination"]["next_cursor"]


@pytest.mark.parametrize(
    "query",
    [
        "ordering=created_at",
        "ordering=-title",
        "ordering=-created_at,title",
        "status=pending",
        "status__ne=pending",
        "search=x&status=pending",
        "created_at__gte=2020-01-01",
    ],
)
def test_a_cursor_belongs_to_its_ordering_and_filters(query: str) -> None:
    me = Api(alice())
    fill(me, 9)
    if "search" in query:
        query = query.replace("search=x&", "")
        cursor = cursor_of(me, "limit=3&status=pending&priority=low,medium,high,urgent")
    else:
        cursor = cursor_of(me)
    assert_invalid_cursor(me, f"{query}&cursor={cursor}")


def test_a_cursor_belongs_to_its_filters_values_and_not_to_their_order() -> None:
    me = Api(alice())
    fill(me, 9)
    cursor = cursor_of(me, "limit=3&status=pending&priority__gte=low")
    assert_invalid_cursor(me, f"status=pending&priority__gte=medium&cursor={cursor}")
    assert ids(page(me, f"priority__gte=low&cursor={cursor}&status=pending"))


def test_a_cursor_belongs_to_its_caller() -> None:
    me, other, boss = Api(alice()), Api(bob()), Api(adam())
    for api in (me, other):
        fill(api, 9)
    for one, another in [(me, other), (me, boss), (boss, me)]:
        assert_invalid_cursor(another, f"cursor={cursor_of(one)}")


def test_a_cursor_belongs_to_its_list() -> None:
    me = Api(alice())
    for index in range(3):
        me.post("categories/", {"name": f"{index}"})
    cursor = me.get("categories/?limit=1&ordering=created_at").json()["pagination"]["next_cursor"]
    fill(me, 3)
    assert_invalid_cursor(me, f"ordering=created_at&cursor={cursor}")


def test_a_cursor_with_any_bit_flipped_is_refused() -> None:
    me = Api(alice())
    fill(me, 5)
    cursor = cursor_of(me, "limit=2&ordering=title")
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    for index in range(len(raw)):
        for bit in (0x01, 0x80):
            forged = bytes([*raw[:index], raw[index] ^ bit, *raw[index + 1 :]])
            text = base64.urlsafe_b64encode(forged).decode().rstrip("=")
            assert_invalid_cursor(me, f"ordering=title&cursor={text}")
    assert page(me, f"ordering=title&cursor={cursor}")


def test_a_cursor_with_any_character_changed_added_or_missing_is_refused() -> None:
    me = Api(alice())
    fill(me, 5)
    cursor = cursor_of(me, "limit=2")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    changed = [
        cursor[:index] + alphabet[(alphabet.index(cursor[index]) + step) % 64] + cursor[index + 1 :]
        for index in range(len(cursor))
        for step in (1, 2)
    ]
    changed += [cursor[:-1], cursor[1:], cursor + "A", cursor + "=", cursor + "==", cursor * 2, cursor.swapcase()]
    changed += [cursor + quote("\n"), quote(cursor[:8] + " " + cursor[8:])]
    for text in changed:
        response = refused(me, f"cursor={text}")
        assert response.json()["code"] in {"invalid_cursor", "validation_failed"}


@pytest.mark.parametrize(
    "text", ["", "null", "1", "=", "====", "é", "日本", "a.b.c", "A" * 5000, "../../etc", "%25%25", "-_-_"]
)
def test_a_malformed_cursor_is_refused(text: str) -> None:
    assert_invalid_cursor(Api(alice()), f"cursor={quote(text, safe='%')}")


def test_a_cursor_that_was_signed_with_an_old_secret_still_works(settings: pytest_django.Settings) -> None:
    me = Api(alice())
    fill(me, 5)
    cursor = cursor_of(me, "limit=2")
    expected = ids(page(me, f"cursor={cursor}"))
    old, new = settings.SECRET_KEY, "another secret that is long enough for this purpose"
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = new, [old]
    assert ids(page(me, f"cursor={cursor}")) == expected
    settings.SECRET_KEY_FALLBACKS = []
    assert_invalid_cursor(Api(me.user), f"cursor={cursor}")


def test_numbered_pages_tell_how_many_there_are() -> None:
    me = Api(alice())
    expected = fill(me, 45)[::-1]
    for number, size, more in [(1, 20, True), (2, 20, True), (3, 5, False)]:
        found = page(me, f"page={number}")
        assert ids(found) == expected[20 * (number - 1) : 20 * number]
        assert found["pagination"] == {
            "page": number,
            "page_size": 20,
            "total": 45,
            "total_pages": 3,
            "has_more": more,
            "total_returned": size,
        }


def test_a_page_size_alone_means_the_first_page() -> None:
    me = Api(alice())
    expected = fill(me, 5)[::-1]
    found = page(me, "page_size=3")
    assert ids(found) == expected[:3]
    assert found["pagination"]["page"] == 1


def test_a_full_last_page_is_the_last() -> None:
    me = Api(alice())
    fill(me, 6)
    last = page(me, "page=2&page_size=3")["pagination"]
    assert (last["has_more"], last["total_pages"], last["total_returned"]) == (False, 2, 3)


@pytest.mark.parametrize("number", [0, 3])
def test_past_the_last_page_is_an_empty_one(number: int) -> None:
    me = Api(alice())
    fill(me, number)
    assert page(me, "page=4&page_size=3") == {
        "data": [],
        "pagination": {
            "page": 4,
            "page_size": 3,
            "total": number,
            "total_pages": number // 3,
            "has_more": False,
            "total_returned": 0,
        },
        "meta": {"version": "1.0"},
    }


def work(call: Callable[[], Any]) -> int:
    """What the database does for a list: blocks that PostgreSQL looks at, or instructions of SQLite's machine."""
    if connection.vendor == "sqlite":
        steps = itertools.count()
        connection.ensure_connection()
        connection.connection.set_progress_handler(lambda: next(steps) and None, 1)
        try:
            call()
        finally:
            connection.connection.set_progress_handler(None, 1)
        return next(steps)
    with CaptureQueriesContext(connection) as queries:
        call()
    (statement,) = [query["sql"] for query in queries if "tasks_task" in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}")
        plan = cursor.fetchone()[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@pytest.fixture
def compact(db: None) -> None:
    """No rows that earlier tests took back, and no gaps that they left: new ones lie side by side."""
    if connection.vendor == "postgresql":
        other = connection.copy()  # this one is in the test's transaction
        with other.cursor() as cursor:
            cursor.execute("VACUUM FULL tasks_task")
        other.close()


DEEP = ["", "ordering=created_at", "ordering=due_date", "status=pending", "status=pending&ordering=due_date"]


@pytest.mark.slow
@pytest.mark.parametrize("query", [*DEEP, "ordering=-priority", "ordering=title"])
def test_a_late_page_costs_at_most_twice_the_first_one(compact: None, query: str) -> None:
    me = Api(alice())
    fill(me, 2000)
    fill(Api(bob()), 2000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE tasks_task")
    first, pages = work(lambda: page(me, query)), [page(me, f"{query}&limit=100")]
    while pages[-1]["pagination"]["has_more"]:
        pages.append(page(me, f"{query}&limit=100&cursor={pages[-1]['pagination']['next_cursor']}"))
    behind = pages[-2]["pagination"]["next_cursor"]
    assert len(pages) == 20
    # What it takes to get to the first row of all is a few blocks.
    assert work(lambda: page(me, f"{query}&cursor={behind}")) <= 2 * first + 10


@pytest.mark.parametrize("query", ["ordering=due_date", "ordering=-due_date", "status=pending&ordering=due_date"])
def test_the_last_page_of_undated_tasks_reads_no_rows_of_others(compact: None, query: str) -> None:
    me = Api(alice())
    fill(me, 1000, due_at=None)
    fill(Api(bob()), 1000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE tasks_task")
    cursors: list[str] = []
    for limit in (*[100] * 9, 90):
        after = f"&cursor={cursors[-1]}" if cursors else ""
        cursors.append(page(me, f"{query}&limit={limit}{after}")["pagination"]["next_cursor"])
    second = work(lambda: page(me, f"{query}&cursor={cursors[0]}"))
    last = work(lambda: page(me, f"{query}&cursor={cursors[-1]}"))
    assert last <= 2 * second + 10


@pytest.mark.parametrize("query", ["page=100&page_size=100", "page=500", "page=10000&page_size=1"])
def test_numbered_pages_reach_ten_thousand_rows_deep(query: str) -> None:
    assert page(Api(alice()), query)["data"] == []


@pytest.mark.parametrize("query", ["page=101&page_size=100", "page=501", "page=10001&page_size=1", "page=10000"])
def test_numbered_pages_reach_no_deeper(query: str) -> None:
    assert faults(refused(Api(alice()), query)) == {"page": "out_of_range"}


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "", "last", "9" * 400, "٣"])
def test_page_numbers_are_whole_and_start_at_one(number: str) -> None:
    assert faults(refused(Api(alice()), f"page={quote(number)}")) == {"page": "out_of_range"}


@pytest.mark.parametrize(
    "query, fields",
    [
        ("page=1&limit=5", {"limit"}),
        ("page=1&limit=5&page_size=20", {"limit"}),
        ("page_size=5&limit=5", {"page_size"}),
        ("page_size=5&limit=6", {"page_size"}),
        ("page=1&cursor=x", {"cursor"}),
        ("page=1&cursor=x&limit=5", {"cursor", "limit"}),
        ("page=1&cursor=x&limit=20&page_size=20", {"cursor"}),
        ("page_size=5&cursor=x", {"page_size"}),
        ("page_size=5&cursor=x&limit=5", {"page_size"}),
    ],
)
def test_cursors_and_page_numbers_do_not_mix(query: str, fields: set[str]) -> None:
    assert faults(refused(Api(alice()), query)) == dict.fromkeys(fields, "conflict")


# What clients made from the OpenAPI document send: its defaults, wherever their caller says nothing.
@pytest.mark.parametrize(
    "query, limit",
    [("", 20), ("limit=20", 20), ("limit=20&page_size=20", 20), ("limit=3&page_size=20", 3), ("limit=3", 3)],
)
def test_a_page_size_at_its_default_leaves_cursors_alone(query: str, limit: int) -> None:
    me = Api(alice())
    newest_first = fill(me, 25)[::-1]
    first = page(me, query)
    assert ids(first) == newest_first[:limit]
    assert first["pagination"]["limit"] == limit
    second = page(me, f"{query}&cursor={first['pagination']['next_cursor']}")
    assert ids(second) == newest_first[limit : 2 * limit]


@pytest.mark.parametrize(
    "query, number, size",
    [
        ("page=2", 2, 20),
        ("page=2&limit=20", 2, 20),
        ("page=2&limit=20&page_size=20", 2, 20),
        ("page=2&limit=20&page_size=3", 2, 3),
        ("page=2&page_size=3", 2, 3),
        ("page_size=20", 1, 20),
        ("page_size=3", 1, 3),
        ("page_size=3&limit=20", 1, 3),
    ],
)
def test_a_limit_at_its_default_leaves_page_numbers_alone(query: str, number: int, size: int) -> None:
    me = Api(alice())
    newest_first = fill(me, 25)[::-1]
    found = page(me, query)
    assert ids(found) == newest_first[(number - 1) * size : number * size]
    assert (found["pagination"]["page"], found["pagination"]["page_size"]) == (number, size)


@pytest.mark.parametrize(
    "operation", [each for each in operations() if each.name.startswith("list")], ids=lambda each: each.name
)
def test_every_list_takes_the_defaults_of_the_document(operation: Operation) -> None:
    defaults = {
        each["name"]: each["schema"]["default"] for each in operation.spec["parameters"] if "default" in each["schema"]
    }
    assert defaults == {"limit": 20, "page_size": 20}
    answer = Api(adam()).call("GET", operation.path.removeprefix("/api/v1/") + "?" + urlencode(defaults))
    assert answer.status_code == 200, answer.content


@pytest.mark.parametrize("fields", ["id", "title", "id,title", "title,id", "owner,completed,due_date,version"])
def test_fields_trim_the_objects(fields: str) -> None:
    me = Api(alice())
    fill(me, 3)
    whole = page(me, "ordering=id")
    for query in ("ordering=id&", "ordering=id&page=1&"):
        trimmed = page(me, f"{query}fields={fields}")
        assert trimmed["data"] == [{name: item[name] for name in fields.split(",")} for item in whole["data"]]


@pytest.mark.parametrize(
    "path, column",
    [
        ("tasks/", "description"),
        ("tasks/trash/", "description"),
        ("activity-logs/", "changes"),
        ("categories/", "count("),
    ],
)
def test_costly_columns_are_read_only_on_request(path: str, column: str) -> None:
    def statements(query: str) -> str:
        with CaptureQueriesContext(connection) as queries:
            assert me.get(f"{path}{query}").status_code == 200
        return "; ".join(query["sql"].lower() for query in queries)

    me = Api(alice())
    assert column in statements("")
    assert column not in statements("?fields=id,version" if path != "activity-logs/" else "?fields=id,seq")


@pytest.mark.parametrize("fields", ["", "id,", "id,nope", "owner.email", "owner__password", "due_at", "tag_keys", "*"])
def test_other_fields_are_refused(fields: str) -> None:
    response = refused(Api(alice()), f"fields={fields}")
    assert faults(response) == {"fields": "unknown_field"}
    assert "reminders" in response.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    "ordering",
    [
        "",
        "-",
        "nope",
        "--title",
        "+title",
        "title,",
        "title desc",
        "-title,nope",
        "?",
        "due_at",
        "owner__password",
    ],
)
def test_only_documented_orderings_work(ordering: str) -> None:
    response = refused(Api(alice()), f"ordering={quote(ordering)}")
    assert faults(response) == {"ordering": "invalid_choice"}
    assert "priority" in response.json()["errors"][0]["message"]


def test_more_than_four_orderings_are_too_many() -> None:
    me = Api(alice())
    assert page(me, "ordering=title,priority,status,id")
    assert faults(refused(me, "ordering=title,priority,status,due_date,id")) == {"ordering": "too_many"}


@pytest.mark.parametrize("path", ["tasks/", "categories/", "activity-logs/"])
def test_an_unknown_parameter_is_named_with_the_known_ones(path: str) -> None:
    response = Api(alice()).get(f"{path}?colour=red&created=1")
    assert response.status_code == 400
    assert faults(response) == {"colour": "unknown_parameter", "created": "unknown_parameter"}
    for known in ("ordering", "limit", "cursor", "page", "page_size", "fields"):
        assert known in response.json()["errors"][0]["message"]


@pytest.mark.parametrize("name", ["limit", "cursor", "page", "search", "completed", "due_date", "created_at__gte"])
def test_a_parameter_of_one_value_is_refused_twice(name: str) -> None:
    response = refused(Api(alice()), f"{name}=1&{name}=1")
    assert faults(response)[name] == "repeated"


@pytest.mark.parametrize(
    "repeated, joined",
    [
        ("status=pending&status=completed", "status=pending,completed"),
        ("status=pending,cancelled&status=completed", "status=pending,cancelled,completed"),
        ("status__ne=pending&status__ne=completed", "status__ne=pending,completed"),
        ("tag=a&tag=b", "tag=a,b"),
        ("ordering=priority&ordering=-title", "ordering=priority,-title"),
        ("fields=id&fields=title", "fields=id,title"),
        ("status[]=pending&status[]=completed", "status=pending,completed"),
        ("status%5B%5D=pending&status=completed", "status=pending,completed"),
        ("status[]=pending&limit=3", "status=pending&limit=3"),
    ],
)
def test_repeated_parameters_are_as_commas_between_values(repeated: str, joined: str) -> None:
    me = Api(alice())
    fill(me, 3, status="pending", tag_keys=["a"], tags=["a"])
    fill(me, 3, status="completed", completed_at=now(), tag_keys=["b"], tags=["b"])
    fill(me, 3, status="cancelled")
    expected = page(me, joined)
    assert page(me, repeated) == expected
    assert expected["data"]


def test_a_cursor_fits_either_form_of_several_values() -> None:
    me = Api(alice())
    fill(me, 9)
    cursor = cursor_of(me, "limit=3&status=pending,completed")
    assert ids(page(me, f"limit=3&status=pending&status=completed&cursor={cursor}"))


@pytest.mark.parametrize("query, name", [("limit[]=1", "limit[]"), ("colour[]=red", "colour[]"), ("[]=1", "[]")])
def test_brackets_belong_to_parameters_of_several_values(query: str, name: str) -> None:
    assert faults(refused(Api(alice()), query)) == {name: "unknown_parameter"}


def test_repeated_values_count_towards_the_same_limit() -> None:
    me = Api(alice())
    assert me.get(f"tasks/?{'&'.join(['tag=a'] * 50)}").status_code == 200
    assert faults(refused(me, "&".join(["tag=a"] * 51))) == {"tag": "too_many"}


@pytest.mark.parametrize(
    "query, same",
    [
        ("ordering=-Priority,TITLE", "ordering=-priority,title"),
        ("fields=ID,Title", "fields=id,title"),
        ("status=PENDING,Completed", "status=pending,completed"),
        ("priority__gte=High", "priority__gte=high"),
        ("completed=FALSE", "completed=false"),
    ],
)
def test_words_of_parameters_are_read_in_any_case(query: str, same: str) -> None:
    me = Api(alice())
    fill(me, 9)
    assert page(me, query) == page(me, same)


def test_all_bad_parameters_are_named_at_once() -> None:
    response = refused(
        Api(alice()), "status=x&priority__gte=1&owner=me&due_date=soon&completed=maybe&limit=0&ordering=x&fields=x&y=1"
    )
    assert faults(response) == {
        "status": "invalid_choice",
        "priority__gte": "invalid_choice",
        "owner": "invalid_id",
        "due_date": "invalid_date",
        "completed": "invalid_choice",
        "limit": "out_of_range",
        "ordering": "invalid_choice",
        "fields": "unknown_field",
        "y": "unknown_parameter",
    }


@pytest.mark.parametrize("name, limit", [("status", 50), ("tag", 50), ("owner", 50)])
def test_a_filter_takes_fifty_values_and_no_more(name: str, limit: int) -> None:
    me = Api(alice())
    value = {"status": "pending", "tag": "a", "owner": str(me.user.id)}[name]
    assert me.get(f"tasks/?{name}={','.join([value] * limit)}").status_code == 200
    assert faults(refused(me, f"{name}={','.join([value] * (limit + 1))}")) == {name: "too_many"}


@pytest.mark.parametrize(
    "query", ["status=", "status=pending,", "owner=,", "tag=", "due_date=", "completed=", "category__isnull="]
)
def test_an_empty_value_selects_nothing_silently(query: str) -> None:
    assert list(faults(refused(Api(alice()), query))) == [query.partition("=")[0]]


def test_ranges_take_one_value_and_a_filter_without_a_range_has_none() -> None:
    me = Api(alice())
    assert faults(refused(me, "priority__gte=low,high")) == {"priority__gte": "invalid_choice"}
    assert faults(refused(me, "due_date=2026-01-01,2026-01-02")) == {"due_date": "invalid_date"}
    for name in ("status__gte", "owner__isnull", "tag__isnull", "created_at__ne", "created_at__isnull", "title"):
        assert faults(refused(me, f"{name}=1")) == {name: "unknown_parameter"}
