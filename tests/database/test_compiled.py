"""The cache of compiled queries."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.db.models import F, Q, QuerySet
from django.test.utils import CaptureQueriesContext

from cast import Api, alice, bob
from duely.core.clock import now, rfc3339
from duely.core.ids import new_id
from duely.core.scopes import EVERYTHING, Owned
from duely.database import compiled
from duely.database.compiled import Condition, NotCompilable, Visible
from duely.tasks.models import Category, Task

pytestmark = pytest.mark.django_db


def all_tasks() -> QuerySet[Task]:
    return Task.objects.all()


def titles(tasks: QuerySet[Any]) -> QuerySet[Any]:
    return tasks.order_by("title").values_list("title")


def visible_titles(condition: Condition, where: Condition | None = None) -> list[str]:
    return [
        title for (title,) in Visible(all_tasks, EVERYTHING, (condition,)).select((where or Q(),), "titles", titles)
    ]


@pytest.fixture
def owner(db: None) -> UUID:
    me = Api(alice())
    for title in ("a", "b", "c"):
        assert me.post("tasks/", {"title": title, "tags": [title]}).status_code == 201
    return me.user.id


def test_other_values_use_the_same_compiled_query(owner: UUID) -> None:
    other = Api(bob())
    other.post("tasks/", {"title": "theirs"})
    assert visible_titles(Q(owner_id=owner), Q(title="a")) == ["a"]
    before = len(compiled._queries)
    assert visible_titles(Q(owner_id=owner), Q(title="b")) == ["b"]
    assert visible_titles(Q(owner_id=other.user.id), Q(title="theirs")) == ["theirs"]
    assert visible_titles(Q(owner_id=other.user.id), Q(title="a")) == []
    assert len(compiled._queries) == before


@pytest.mark.parametrize(
    "where, expected",
    [
        (Q(), ["a", "b", "c"]),
        (Q(title__in=["a", "c"]), ["a", "c"]),
        (~Q(title__in=["a", "c"]), ["b"]),
        (Q(title="a") | Q(title="b"), ["a", "b"]),
        (Q(title="a") & Q(title="b"), []),
        (Q(due_at__isnull=False) | Q(title__gt="b"), ["c"]),
        (Q(due_at__isnull=True, title__lte="b"), ["a", "b"]),
        (Q(tag_keys__has_item="b"), ["b"]),
        (~Q(tag_keys__has_item="b") & ~(Q(title="a") | Q(priority__gte=3)), ["c"]),
        (Q(created_at__gt=now() + timedelta(days=1)), []),
        (("title__in", ["a", "c"]), ["a", "c"]),
        (("due_at__isnull", False), []),
        (("title__lte", "b"), ["a", "b"]),
    ],
)
def test_compiled_conditions_select_the_right_rows(owner: UUID, where: Condition, expected: list[str]) -> None:
    assert visible_titles(Q(owner_id=owner), where) == expected
    assert visible_titles(("owner_id", owner), where) == expected
    assert visible_titles(("owner_id", new_id()), where) == []


@pytest.mark.parametrize(
    "where",
    [
        Q(title__startswith="a"),
        Q(F("title")),
        Q(category_id__in=[new_id(), new_id()]),
        Q(due_at=None),
        Q(title=F("title")),
        ("due_at", None),
    ],
    ids=["other lookups", "expressions", "lists of foreign keys", "null", "columns", "null as a pair"],
)
def test_other_conditions_are_left_to_querysets(owner: UUID, where: Condition) -> None:
    with pytest.raises(NotCompilable):
        visible_titles(Q(owner_id=owner), where)


def test_queries_with_values_of_a_user_are_never_cached(owner: UUID) -> None:
    """Else the next user would get the rows of the first one."""

    def mine() -> QuerySet[Task]:
        return Task.objects.filter(owner_id=owner)

    before = len(compiled._queries)
    with pytest.raises(NotCompilable):
        Visible(mine, EVERYTHING, (Q(title="a"),)).select((), "titles", titles)
    assert len(compiled._queries) == before


def test_rows_are_those_of_values_list_with_ids_as_text(owner: UUID) -> None:
    columns = [field.attname for field in Task._meta.concrete_fields]
    category = Category(id=new_id(), owner_id=owner, name="x", name_key="x", color="#000000", position=0)
    category.created_at = category.updated_at = now()
    category.save()
    task = Task.objects.get(title="a")
    Task.objects.filter(pk=task.pk).update(category=category, due_on="2026-01-31", due_at=now())
    (row,) = Visible(all_tasks, EVERYTHING, (Q(pk=task.pk),)).select(
        (), "all", lambda tasks: tasks.values_list(*columns)
    )
    expected = Task.objects.filter(pk=task.pk).values_list(*columns).get()
    assert row == tuple(str(value) if isinstance(value, UUID) else value for value in expected)


def test_the_cache_of_queries_is_limited(owner: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "MAX_QUERIES", 3)
    monkeypatch.setattr(compiled, "_queries", type(compiled._queries)())
    for number in range(1, 8):
        assert visible_titles(Q(owner_id=owner), Q(title__in=["a"] * number)) == ["a"]
    assert len(compiled._queries) == 3


def test_the_server_prepares_compiled_queries(owner: UUID) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite's driver keeps statements by their text")
    visible_titles(Q(owner_id=owner), Q(title="a"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        assert any('"title"' in statement for (statement,) in cursor.fetchall())


@pytest.mark.parametrize("microsecond", [0, 1_000, 10_000, 120_000, 123_000, 500_000, 999_000, 999_999])
@pytest.mark.parametrize("year", [1, 999, 2026, 9999])
def test_instants_of_shown_columns_have_the_form_of_answers(owner: UUID, year: int, microsecond: int) -> None:
    instant = datetime(year, 2, 28, 23, 59, 58, microsecond, tzinfo=UTC)
    Task.objects.filter(title="a").update(due_at=instant)

    def columns(tasks: QuerySet[Any]) -> QuerySet[Any]:
        return tasks.order_by("title").values_list("due_at", "title", "completed_at", "due_at", "completed_at")

    def rows() -> list[tuple[Any, ...]]:
        return Visible(all_tasks, EVERYTHING, (Q(owner_id=owner),)).select((), "columns", columns, shown=3)

    expected = [(rfc3339(instant), "a", None, instant, None), *((None, title, None, None, None) for title in "bc")]
    assert rows() == expected
    with CaptureQueriesContext(connection):
        assert rows() == expected


def test_callers_of_different_scopes_never_share_a_query(owner: UUID) -> None:
    other = Api(bob())
    assert other.post("tasks/", {"title": "d"}).status_code == 201
    expected = {EVERYTHING: ["a", "b", "c", "d"], Owned(owner): ["a", "b", "c"], Owned(other.user.id): ["d"]}

    for scope in (*expected, *reversed(expected)):
        rows = Visible(all_tasks, scope).select((), "titles", titles)
        assert [title for (title,) in rows] == expected[scope]
