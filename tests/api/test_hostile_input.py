"""Names and values in queries that broke others (security.md V21, V23): 400, never 500, equal on both databases."""

from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from cast import V1, Api, adam, faults

pytestmark = pytest.mark.django_db

LISTS = ("tasks/", "categories/", "activity-logs/", "users/", "auth/sessions/")
NAMES = [
    "_connector",
    "_negated",
    "__",
    "__in",
    "password",
    "owner__password",
    "owner__password__startswith",
    "owner__email__contains",
    "owner_id",
    "category__owner__username",
    "title__regex",
    "title__iregex",
    "title__contains",
    "status__in",
    "status__regex",
    "created_at__year",
    "created_at__date__gte",
    "created_at__gte__gte",
    "due_at__gte",
    "tag_keys__has_item",
    "id__in",
    "pk",
    "a.b",
    "%",
    '"',
    "'",
    "'; DROP TABLE tasks_task; --",
    "status[]",
    "status[ne]",
    "filter[status]",
    "\x00",
    "status\x00",
    " status",
    "STATUS",
    "é",
    "",
]
VALUES = [
    "\x00",
    "a\x00b",
    "\n",
    "\x1b[31m",
    "\x7f",
    "\x85",
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1",
    str(2**31),
    str(2**63),
    str(2**64),
    str(2**4096),
    "9" * 5000,
    "0x7f",
    "'",
    '"',
    "\\",
    "%",
    "_",
    "--",
    "';--",
    "' OR '1'='1",
    "1; SELECT pg_sleep(10)",
    "$(id)",
    "{{7*7}}",
    "../../etc/passwd",
    "null",
    "undefined",
    "[]",
    "{}",
    "é",
    "日本",
    "🙂",
    "\u2028",
    "\u202e",
    "\ufeff",
    "\uffff",
    "(a+)+$" * 50,
    "x" * 10_000,
    "0000-00-00",
    "0000-00-00T00:00:00Z",
    "0001-01-01",
    "0001-01-01T00:00:00Z",
    "9999-12-31",
    "9999-12-31T23:59:59.999Z",
    "-0001-01-01",
    "+12026-01-01",
    "2026-01-01T00:00:00.000000000000000000001Z",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
]
RAW_VALUES = [
    "%",
    "%zz",
    "%00",
    "%ff",
    "%c3",
    "%ed%a0%80",
    "%ed%a0%80%ed%b0%80",
    "%f4%90%80%80",
    "%u0000",
    "+",
    "&",
    "=",
    "%0d%0aX-Evil:1",
]
# What these take is any text without control characters.
TEXT = {"tag", "tag__ne", "name", "action", "action__ne", "target", "username", "email", "search"}


def parameters(path: str) -> list[str]:
    from duely.accounts.schemas import SESSIONS, USERS
    from duely.activity.schemas import ACTIVITY
    from duely.tasks.categories.lists import CATEGORIES
    from duely.tasks.lists import TASKS

    listings = dict(zip(LISTS, (TASKS, CATEGORIES, ACTIVITY, USERS, SESSIONS), strict=True))
    return list(listings[path].known)


def busy_admin() -> Client:
    """A client of an admin who has a row in every list."""
    me = Api(adam())
    category = me.post("categories/", {"name": "Home"}).json()
    due = {"due_date": "2026-01-31", "completed": True, "tags": ["home"]}
    assert me.post("tasks/", {"title": "x", "category": category["id"], **due}).status_code == 201
    return Client(headers=me.headers)


def checked(response: Any) -> Any:
    assert response.status_code in {200, 400}, response.content
    if response.status_code == 400:
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.json()["code"] in {"validation_failed", "invalid_cursor"}
    return response


@pytest.mark.parametrize("path", LISTS)
def test_no_name_reaches_the_database(path: str) -> None:
    me = busy_admin()
    for name in NAMES:
        if name.removesuffix("[]") in parameters(path):
            continue
        response = me.get(f"{V1}{path}?{quote(name)}=1")
        assert response.status_code == 400, name
        assert set(faults(response).values()) == {"unknown_parameter"}
        if name.lower() in parameters(path):
            continue  # fields and orderings are read in any case
        for parameter, code in [("ordering", "invalid_choice"), ("fields", "unknown_field")]:
            for value in (name, f"-{name}", f"id,{name}"):
                answer = me.get(f"{V1}{path}?{parameter}={quote(value)}")
                assert answer.status_code == 400, (parameter, value)
                assert faults(answer)[parameter] in {code, "invalid_format"}


@pytest.mark.slow
@pytest.mark.parametrize("path", LISTS)
def test_no_value_breaks_a_list(path: str) -> None:
    me = busy_admin()
    for parameter in parameters(path):
        for value in VALUES:
            response = checked(me.get(f"{V1}{path}?{parameter}={quote(value)}"))
            if any(ord(letter) < 32 for letter in value):
                assert response.status_code == 400, (parameter, value)
        for raw in RAW_VALUES:
            checked(me.get(f"{V1}{path}?{parameter}={raw}"))


@pytest.mark.parametrize("path", LISTS)
def test_only_text_filters_take_any_text(path: str) -> None:
    me = busy_admin()
    for parameter in set(parameters(path)) - TEXT:
        for value in ("'", "%", "' OR '1'='1", "1; SELECT pg_sleep(10)", "NaN", "(a+)+$", "x" * 10_000, "日本"):
            assert me.get(f"{V1}{path}?{parameter}={quote(value)}").status_code == 400, (parameter, value)


def test_more_parameters_than_anyone_needs_are_refused() -> None:
    me = busy_admin()
    for number in (500, 5000):
        response = me.get(f"{V1}tasks/?" + "&".join(f"p{index}=1" for index in range(number)))
        assert response.status_code == 400
        assert response.headers["Content-Type"] == "application/problem+json"
        assert len(response.content) < 128 * 1024


@pytest.mark.slow
def test_nothing_in_a_query_breaks_the_server() -> None:
    me = busy_admin()
    pairs = st.tuples(
        st.sampled_from([*parameters("tasks/"), *NAMES]),
        st.text(max_size=20) | st.sampled_from(VALUES),
    )

    @settings(deadline=None, max_examples=150)
    @given(st.lists(pairs, min_size=1, max_size=4))
    def check(query: list[tuple[str, str]]) -> None:
        text = "&".join(f"{quote(name)}={quote(value.encode('utf-8', 'surrogatepass'))}" for name, value in query)
        checked(me.get(f"{V1}tasks/?{text}"))

    check()


@pytest.mark.parametrize(
    "name", ["User-Agent", "X-Forwarded-For", "X-Request-ID", "Accept", "If-Match", "Idempotency-Key", "Referer"]
)
def test_no_header_breaks_a_write(name: str) -> None:
    me = Api(adam())
    for value in ["\x00", "\x1b[31m", "é", "\ud800", "x" * 10_000, "a\r\nb", "%s%s", "'", "1" * 400]:
        response = me.post("tasks/", {"title": "x"}, **{name: value})
        is_bad_key = name == "Idempotency-Key" and value not in ("%s%s", "'")
        assert response.status_code == (400 if is_bad_key else 201), (name, value, response.content)
    logs = me.get("activity-logs/?limit=100")
    assert logs.status_code == 200
    for entry in logs.json()["data"]:
        assert entry["user_agent"].isprintable()
        assert len(entry["user_agent"]) <= 255
        assert entry["ip"] == "127.0.0.1"
