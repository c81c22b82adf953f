"""Filters and orderings of the category list, against a model in plain Python."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cast import Api, adam, alice, bob
from duely.core.ids import new_id
from duely.tasks.models import Category

pytestmark = pytest.mark.django_db

BASE = datetime(2026, 3, 29, tzinfo=UTC)
NAMES = ["Home", "work", "Ärger", "straße", "a b", "100%", "Z", "y", "日本"]


def build() -> tuple[Api, list[dict[str, Any]]]:
    """An admin, and everyone's categories as the API shows them."""
    boss, owners = Api(adam()), [alice(), bob()]
    for number, name in enumerate(NAMES):
        for owner in owners:
            Category.objects.create(
                id=new_id(),
                owner=owner,
                name=name,
                name_key=name.casefold(),
                color="#808080",
                position=number % 3,
                created_at=BASE + timedelta(milliseconds=number // 2),
                updated_at=BASE + timedelta(hours=number),
            )
    rows = boss.get("categories/?limit=100").json()["data"]
    assert len(rows) == 2 * len(NAMES)
    return boss, rows


def test_filters_and_orderings_do_what_a_model_does() -> None:
    from duely.tasks.categories.lists import CATEGORIES

    boss, rows = build()
    owners = [*sorted({row["owner"] for row in rows}), str(new_id())]
    orderings = ["position", "name", "created_at", "updated_at"]
    assert set(orderings) == set(CATEGORIES.orderings)

    def named(names: list[str]) -> Any:
        folded = [name.casefold() for name in names]
        return "name", ",".join(name.upper() for name in names), lambda row: row["name"].casefold() in folded

    def owned(chosen: list[str], negated: bool) -> Any:
        return "owner" + "__ne" * negated, ",".join(chosen), lambda row: (row["owner"] in chosen) is not negated

    def placed(name: str, suffix: str, value: str) -> Any:
        holds = {
            "": lambda row: row[name] == value,
            "__gte": lambda row: row[name] >= value,
            "__gt": lambda row: row[name] > value,
            "__lte": lambda row: row[name] <= value,
            "__lt": lambda row: row[name] < value,
        }
        return name + suffix, value, holds[suffix]

    instants = sorted({row[name] for row in rows for name in ("created_at", "updated_at")})
    conditions = st.one_of(
        st.builds(named, st.lists(st.sampled_from([*NAMES, "unknown"]), min_size=1, max_size=3, unique=True)),
        st.builds(owned, st.lists(st.sampled_from(owners), min_size=1, max_size=2, unique=True), st.booleans()),
        st.builds(
            placed,
            st.sampled_from(["created_at", "updated_at"]),
            st.sampled_from(["", "__gte", "__gt", "__lte", "__lt"]),
            st.sampled_from(instants),
        ),
    )

    @settings(deadline=None, max_examples=60, phases=[Phase.explicit, Phase.reuse, Phase.generate])
    @given(
        st.lists(conditions, max_size=2, unique_by=lambda condition: condition[0]),
        st.lists(st.sampled_from(orderings), min_size=1, max_size=3, unique=True),
        st.integers(0, 7),
        st.integers(2, 9),
    )
    def check(chosen: list[Any], names: list[str], signs: int, size: int) -> None:
        terms = ["-" * (signs >> index & 1) + name for index, name in enumerate(names)]
        expected = [row for row in rows if all(holds(row) for _, _, holds in chosen)]
        for term in reversed([*terms, "-id" if terms[0].startswith("-") else "id"]):
            expected.sort(key=lambda row, key=term.removeprefix("-"): row[key], reverse=term.startswith("-"))
        query = {"limit": size, "ordering": ",".join(terms), **{name: value for name, value, _ in chosen}}
        found, cursor = [], None
        while True:
            page = boss.get("categories/?" + urlencode({**query, **({"cursor": cursor} if cursor else {})})).json()
            found += page["data"]
            cursor = page["pagination"]["next_cursor"]
            if cursor is None:
                break
        assert found == expected

    check()


def test_without_an_ordering_categories_come_by_position() -> None:
    me = Api(alice())
    for name, position in [("b", 2), ("c", 1), ("a", 1)]:
        me.post("categories/", {"name": name, "position": position})
        time.sleep(0.002)  # ids of one millisecond are in no order
    assert [row["name"] for row in me.get("categories/").json()["data"]] == ["c", "a", "b"]
