"""Every filter and ordering of the task list, against a model in plain Python."""

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cmp_to_key
from typing import Any
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.http import QueryDict
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cast import Api, person
from duely.core.actor import Actor, Origin
from duely.core.ids import new_id
from duely.tasks.models import Category, Task

pytestmark = pytest.mark.django_db

STATUSES = ("pending", "in_progress", "completed", "cancelled", "overdue")
PRIORITIES = ("low", "medium", "high", "urgent")
TAGS = ("home", "Work", "Ärger", "straße", "a b", "100%")
TITLES = ("a", "B", "Z", "b", "a b", "ä", "É", "z", "日本", "🙂", "_", "A")
MILLISECOND = timedelta(milliseconds=1)
ZONES = {"alice": "Europe/Berlin", "bob": "Pacific/Apia", "adam": "America/Sao_Paulo"}
RANGES = ("", "__gte", "__gt", "__lte", "__lt")


@dataclass
class Row:
    """A task as the model knows it."""

    id: UUID
    owner: UUID
    zone: str
    title: str
    status: str
    priority: str
    due: date | None
    category: UUID | None
    tags: list[str]
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None

    @property
    def due_date(self) -> datetime | None:
        """Where the due date is on the time line."""
        if self.due is None or isinstance(self.due, datetime):
            return self.due
        return start_of(self.due + timedelta(days=1), self.zone) - MILLISECOND


def start_of(day: date, zone: str) -> datetime:
    return datetime.combine(day, time.min, ZoneInfo(zone)).astimezone(UTC)


@dataclass
class World:
    """Two owners' tasks, and two people who look at them."""

    rows: list[Row]
    callers: dict[str, Api]
    categories: list[UUID]
    owners: list[UUID]

    def visible(self, caller: str) -> list[Row]:
        mine = self.callers[caller].user.id
        return [row for row in self.rows if caller == "adam" or row.owner == mine]

    def instants(self) -> list[datetime]:
        found = {row.created_at for row in self.rows} | {row.updated_at for row in self.rows}
        found |= {row.due_date for row in self.rows if row.due_date}
        return sorted(found | {row.completed_at for row in self.rows if row.completed_at})


def build_world() -> World:
    """Thirty tasks that collide in everything but their ids, some more in the trash."""
    dice = random.Random(20260329)
    users = {
        name: person(name, time_zone=zone, role="admin" if name == "adam" else "member") for name, zone in ZONES.items()
    }
    moments = [datetime(2026, 3, 29, hour, tzinfo=UTC) + dice.randrange(3) * MILLISECOND for hour in (0, 1, 21, 22, 23)]
    categories = [
        Category.objects.create(
            id=new_id(),
            owner=users[name],
            name=f"{name} {number}",
            name_key=f"{name} {number}",
            color="#808080",
            position=0,
            created_at=moments[0],
            updated_at=moments[0],
        )
        for name in ("alice", "bob")
        for number in range(2)
    ]
    rows = []
    for number in range(36):
        name = dice.choice(["alice", "alice", "bob"])
        status = dice.choice(STATUSES)
        row = Row(
            id=UUID(int=dice.getrandbits(128)),
            owner=users[name].id,
            zone=ZONES[name],
            title=dice.choice(TITLES),
            status=status,
            priority=dice.choice(PRIORITIES),
            due=dice.choice([None, date(2026, 3, 28), date(2026, 3, 29), date(2026, 10, 25), *moments]),
            category=dice.choice([None, *(found.id for found in categories if found.owner_id == users[name].id)]),
            tags=dice.sample(TAGS, dice.randrange(3)),
            created_at=dice.choice(moments),
            updated_at=dice.choice(moments),
            completed_at=dice.choice(moments) if status == "completed" else None,
        )
        is_trash = number % 6 == 5
        Task.objects.create(
            id=row.id,
            owner_id=row.owner,
            title=row.title,
            description="",
            status=row.status,
            completed_at=row.completed_at,
            priority=PRIORITIES.index(row.priority) + 1,
            due_on=None if isinstance(row.due, datetime) else row.due,
            due_at=row.due_date,
            category_id=row.category,
            tags=row.tags,
            tag_keys=[tag.casefold() for tag in row.tags],
            reminders=[],
            created_at=row.created_at,
            updated_at=row.updated_at,
            deleted_at=row.updated_at if is_trash else None,
        )
        if not is_trash:
            rows.append(row)
    return World(
        rows,
        {name: Api(users[name]) for name in ("alice", "adam")},
        [*(found.id for found in categories), new_id()],
        [*(user.id for user in users.values()), new_id()],
    )


Predicate = Callable[[Row], bool]
Condition = tuple[str, str, Predicate]
"""A parameter, its value, and what it means."""


@st.composite
def spelt(draw: st.DrawFn, word: str) -> str:
    return draw(st.sampled_from([word, word.upper(), word.title()]))


def one_of(
    name: str, values: Iterable[Any], get: Callable[[Row], Any], *, negated: bool
) -> st.SearchStrategy[Condition]:
    """`name=a,b` or `name__ne=a,b`."""
    known = list(values)
    listed = st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True)

    def condition(chosen: list[Any]) -> Condition:
        text = ",".join(map(str, chosen))
        if negated:
            return f"{name}__ne", text, lambda row: get(row) not in chosen
        return name, text, lambda row: get(row) in chosen

    return listed.map(condition)


def words(name: str, values: tuple[str, ...], *, negated: bool) -> st.SearchStrategy[Condition]:
    """As `one_of`, for words in any case."""

    @st.composite
    def build(draw: st.DrawFn) -> Condition:
        chosen = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True))
        text = ",".join(draw(spelt(word)) for word in chosen)
        suffix = "__ne" if negated else ""
        return f"{name}{suffix}", text, lambda row: (getattr(row, name) in chosen) is not negated

    return build()


def ranked() -> st.SearchStrategy[Condition]:
    tests: dict[str, Callable[[int, int], bool]] = {
        "gte": lambda a, b: a >= b,
        "gt": lambda a, b: a > b,
        "lte": lambda a, b: a <= b,
        "lt": lambda a, b: a < b,
    }

    def condition(parts: tuple[str, str]) -> Condition:
        suffix, word = parts
        rank = PRIORITIES.index(word)
        return f"priority__{suffix}", word, lambda row: tests[suffix](PRIORITIES.index(row.priority), rank)

    return st.tuples(st.sampled_from(sorted(tests)), st.sampled_from(PRIORITIES)).map(condition)


def tagged(*, negated: bool) -> st.SearchStrategy[Condition]:
    @st.composite
    def build(draw: st.DrawFn) -> Condition:
        chosen = draw(st.lists(st.sampled_from([*TAGS, "unknown"]), min_size=1, max_size=2, unique=True))
        text = ",".join(draw(st.sampled_from([tag, tag.upper(), tag.lower()])) for tag in chosen)
        keys = {tag.casefold() for tag in chosen}

        def has(row: Row) -> bool:
            return any(tag.casefold() in keys for tag in row.tags)

        return ("tag__ne", text, lambda row: not has(row)) if negated else ("tag", text, has)

    return build()


def absent(name: str) -> st.SearchStrategy[Condition]:
    def condition(yes: bool) -> Condition:
        return f"{name}__isnull", str(yes).lower(), lambda row: (getattr(row, name) is None) is yes

    return st.booleans().map(condition)


def moment(name: str, world: World, zone: str) -> st.SearchStrategy[Condition]:
    """A range over instants, its bound a day or an instant on, before or behind a value that is there."""
    near = [instant + shift * MILLISECOND for instant in world.instants() for shift in (-1, 0, 1)]
    days = sorted({instant.date() + timedelta(days=shift) for instant in near for shift in (-1, 0, 1)})

    @st.composite
    def build(draw: st.DrawFn) -> Condition:
        suffix = draw(st.sampled_from(RANGES))
        bound = draw(st.sampled_from(days) | st.sampled_from(near))
        if isinstance(bound, datetime):
            begin, end = bound, bound + MILLISECOND
            offset = draw(st.sampled_from(["UTC", "Asia/Kathmandu", "Pacific/Marquesas"]))
            text = bound.astimezone(ZoneInfo(offset)).isoformat(timespec="milliseconds")
        else:
            begin, end = start_of(bound, zone), start_of(bound + timedelta(days=1), zone)
            text = bound.isoformat()

        def holds(row: Row) -> bool:
            value = getattr(row, name)
            if value is None:
                return False
            return {
                "": begin <= value < end,
                "__gte": value >= begin,
                "__gt": value >= end,
                "__lte": value < end,
                "__lt": value < begin,
            }[suffix]

        return f"{name}{suffix}", text, holds

    return build()


def conditions(world: World, zone: str) -> dict[str, st.SearchStrategy[Condition]]:
    """By name, so that a test can tell that none is missing."""
    found = {
        "status": words("status", STATUSES, negated=False),
        "status__ne": words("status", STATUSES, negated=True),
        "priority": words("priority", PRIORITIES, negated=False),
        "priority__ne": words("priority", PRIORITIES, negated=True),
        "priority__range": ranked(),
        "completed": st.booleans().map(
            lambda yes: ("completed", str(yes).lower(), lambda row: (row.status == "completed") is yes)
        ),
        "category": one_of("category", world.categories, lambda row: row.category, negated=False),
        "category__ne": one_of("category", world.categories, lambda row: row.category, negated=True),
        "category__isnull": absent("category"),
        "owner": one_of("owner", world.owners, lambda row: row.owner, negated=False),
        "owner__ne": one_of("owner", world.owners, lambda row: row.owner, negated=True),
        "tag": tagged(negated=False),
        "tag__ne": tagged(negated=True),
        "due_date__isnull": absent("due_date"),
        "completed_at__isnull": absent("completed_at"),
    }
    for name in ("due_date", "completed_at", "created_at", "updated_at"):
        found[name] = moment(name, world, zone)
    return found


ORDERINGS: dict[str, Callable[[Row], Any]] = {
    "created_at": lambda row: row.created_at,
    "updated_at": lambda row: row.updated_at,
    "due_date": lambda row: row.due_date,
    "completed_at": lambda row: row.completed_at,
    "priority": lambda row: PRIORITIES.index(row.priority),
    "title": lambda row: row.title,
    "status": lambda row: row.status,
    "id": lambda row: row.id,
}


def expected_order(rows: list[Row], ordering: list[str]) -> list[Row]:
    """Rows without a value come last either way; ties go by id, in the direction of the first term."""
    terms = [(ORDERINGS[term.removeprefix("-")], term.startswith("-")) for term in ordering]
    terms.append((ORDERINGS["id"], terms[0][1]))

    def compare(one: Row, other: Row) -> int:
        for value, is_descending in terms:
            a, b = value(one), value(other)
            if a == b:
                continue
            if a is None or b is None:
                return 1 if a is None else -1
            return -1 if (a > b) is is_descending else 1
        return 0

    return sorted(rows, key=cmp_to_key(compare))


def walk(api: Api, params: dict[str, str]) -> list[str]:
    """The ids of all pages."""
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        response = api.get("tasks/?" + urlencode({**params, **({"cursor": cursor} if cursor else {})}))
        assert response.status_code == 200, response.content
        page = response.json()
        found += [item["id"] for item in page["data"]]
        cursor = page["pagination"]["next_cursor"]
        assert (cursor is not None) == page["pagination"]["has_more"]
    return found


# Shrinking would repeat hundreds of walks; a failure shows its example anyway.
EXAMPLES = settings(deadline=None, max_examples=60, phases=[Phase.explicit, Phase.reuse, Phase.generate])


def test_the_model_knows_every_filter_and_ordering_of_the_list() -> None:
    from duely.tasks.lists import TASKS

    world = build_world()
    known = set(conditions(world, "UTC")) - {"priority__range"}
    known |= {
        f"{name}{suffix}" for name in ("due_date", "completed_at", "created_at", "updated_at") for suffix in RANGES
    }
    known |= {f"priority{suffix}" for suffix in RANGES}
    assert known == set(TASKS.conditions)
    assert set(ORDERINGS) == set(TASKS.orderings)


@pytest.mark.parametrize("caller", ["alice", "adam"])
def test_filters_select_what_the_model_selects(caller: str) -> None:
    world = build_world()
    api, visible = world.callers[caller], world.visible(caller)
    strategies = conditions(world, ZONES[caller])
    seen_some = seen_none = 0

    @EXAMPLES
    @given(st.lists(st.sampled_from(sorted(strategies)), min_size=1, max_size=3, unique=True), st.data())
    def check(names: list[str], data: st.DataObject) -> None:
        nonlocal seen_some, seen_none
        drawn = [data.draw(strategies[name]) for name in names]
        chosen = {name: (text, holds) for name, text, holds in drawn}
        expected = {str(row.id) for row in visible if all(holds(row) for _, holds in chosen.values())}
        found = walk(api, {"limit": "100", **{name: text for name, (text, _) in chosen.items()}})
        assert sorted(found) == sorted(expected)
        seen_some += bool(expected)
        seen_none += not expected

    check()
    assert seen_some
    assert seen_none


orderings = st.lists(
    st.tuples(st.sampled_from(["", "-"]), st.sampled_from(sorted(ORDERINGS))).map("".join),
    min_size=1,
    max_size=4,
    unique_by=lambda term: term.removeprefix("-"),
)


@pytest.mark.slow
@pytest.mark.parametrize("caller", ["alice", "adam"])
def test_orderings_sort_as_the_model_does_on_pages_of_any_size(caller: str) -> None:
    world = build_world()
    api, visible = world.callers[caller], world.visible(caller)

    @EXAMPLES
    @given(orderings, st.integers(2, 12), st.booleans())
    def check(ordering: list[str], size: int, open_only: bool) -> None:
        params = {"ordering": ",".join(ordering), **({"status__ne": "completed,cancelled"} if open_only else {})}
        rows = [row for row in visible if not open_only or row.status not in ("completed", "cancelled")]
        expected = [str(row.id) for row in expected_order(rows, ordering)]
        assert walk(api, {**params, "limit": str(size)}) == expected
        numbered = api.get("tasks/?" + urlencode({**params, "page": "2", "page_size": str(size)})).json()
        assert [item["id"] for item in numbered["data"]] == expected[size : 2 * size]
        assert numbered["pagination"] == {
            "page": 2,
            "page_size": size,
            "total": len(expected),
            "total_pages": -(-len(expected) // size),
            "has_more": len(expected) > 2 * size,
            "total_returned": len(expected[size : 2 * size]),
        }

    check()


@pytest.mark.parametrize("name", sorted(ORDERINGS))
@pytest.mark.parametrize("sign", ["", "-"])
def test_each_ordering_alone_sorts_as_the_model_does(sign: str, name: str) -> None:
    world = build_world()
    expected = [str(row.id) for row in expected_order(world.visible("adam"), [sign + name])]
    assert walk(world.callers["adam"], {"ordering": sign + name, "limit": "7"}) == expected


def test_without_an_ordering_the_newest_come_first() -> None:
    world = build_world()
    expected = [str(row.id) for row in expected_order(world.visible("alice"), ["-created_at"])]
    assert walk(world.callers["alice"], {"limit": "5"}) == expected


@pytest.mark.parametrize("caller", ["alice", "adam"])
def test_a_prepared_query_gives_the_bytes_that_a_queryset_gives(caller: str) -> None:
    from duely.tasks.lists import TASKS
    from duely.tasks.queries import visible_tasks

    world = build_world()
    user = world.callers[caller].user
    actor = Actor(user.id, caller, user.role, None, ZONES[caller], Origin())
    strategies = conditions(world, ZONES[caller])

    @EXAMPLES
    @given(
        st.lists(st.sampled_from(sorted(strategies)), max_size=3, unique=True),
        orderings,
        st.integers(1, 12),
        st.sampled_from(["", "id,title", "description,due_date"]),
        st.data(),
    )
    def check(names: list[str], ordering: list[str], size: int, fields: str, data: st.DataObject) -> None:
        chosen = {name: text for name, text, _ in (data.draw(strategies[name]) for name in names)}
        params = QueryDict(mutable=True)
        params.update({**chosen, "ordering": ",".join(ordering), "limit": str(size)})
        if fields:
            params["fields"] = fields
        page = TASKS.answer(visible_tasks(actor), TASKS.parse(params, actor))
        assert page == TASKS.answer(visible_tasks(actor).rows(), TASKS.parse(params, actor))
        if cursor := json.loads(page)["pagination"]["next_cursor"]:
            params["cursor"] = cursor
            page = TASKS.answer(visible_tasks(actor), TASKS.parse(params, actor))
            assert page == TASKS.answer(visible_tasks(actor).rows(), TASKS.parse(params, actor))

    check()
