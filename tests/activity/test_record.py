"""Writing the change log, as functions: one statement, no gaps, nothing without a transaction."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from cast import Api, adam, alice, log_of
from duely.activity import actions
from duely.activity.actions import SYSTEM_LOG, Entry, Nobody, follow, record, record_many
from duely.activity.models import Change, Counter
from duely.core.actor import Actor, Origin
from duely.core.ids import new_id
from duely.database.statements import Statement, delete_statement, insert_statement, update_statement
from duely.tasks.models import Category

AT = datetime(2026, 3, 1, 12, 0, 0, 123000, tzinfo=UTC)


@dataclass
class Thing:
    """Something that changes."""

    change_owner_id: UUID = field(default_factory=new_id)
    change_id: UUID | None = field(default_factory=new_id)
    change_type: str = "thing"
    change_label: str = "A thing"


def somebody() -> Actor:
    origin = Origin(ip="2001:db8::1", user_agent="curl/8", request_id="r-1")
    return Actor(id=new_id(), name="alice", role="member", session_id=None, zone="UTC", origin=origin)


def test_the_log_has_no_other_columns_than_are_written() -> None:
    columns = [field.name for field in Change._meta.local_concrete_fields]
    assert sorted(columns) == sorted([*actions.OWN, *actions.SHARED, "seq"])


def seqs(owner: UUID) -> list[int]:
    return list(Change.objects.filter(owner_id=owner).order_by("seq").values_list("seq", flat=True))


def count_of(owner: UUID) -> int | None:
    return Counter.objects.filter(owner_id=owner).values_list("seq", flat=True).first()


def category(owner: Any, name: str = "Home") -> Category:
    return Category(
        id=new_id(),
        owner_id=owner.id,
        name=name,
        name_key=name,
        color="#808080",
        position=0,
        created_at=AT,
        updated_at=AT,
    )


@pytest.mark.django_db
def test_an_entry_holds_who_what_when_and_from_where() -> None:
    actor, thing = somebody(), Thing()
    assert (
        record(actor, "thing.painted", thing, at=AT, changes={"colour": [None, "red"], "tags": [[], ["ä", {"x": 1}]]})
        == 1
    )
    entry = Change.objects.get()
    assert {name: value for name, value in vars(entry).items() if name not in ("_state", "id")} == {
        "owner_id": thing.change_owner_id,
        "seq": 1,
        "at": AT,
        "actor_id": actor.id,
        "actor_name": "alice",
        "action": "thing.painted",
        "target_type": "thing",
        "target_id": thing.change_id,
        "target_label": "A thing",
        "changes": {"colour": [None, "red"], "tags": [[], ["ä", {"x": 1}]]},
        "ip": "2001:db8::1",
        "user_agent": "curl/8",
        "request_id": "r-1",
    }
    assert entry.id.version == 7


@pytest.mark.django_db
def test_the_system_is_nobody() -> None:
    record(None, "thing.rotted", Thing(), at=AT)
    entry = Change.objects.get()
    assert (entry.actor_id, entry.actor_name, entry.ip, entry.user_agent, entry.request_id) == (None, "", None, "", "")
    assert entry.changes == {}


@pytest.mark.django_db
def test_what_belongs_to_nobody_stands_in_the_systems_own_log() -> None:
    record(somebody(), "auth.login_failed", Nobody("user"), at=AT)
    entry = Change.objects.get()
    assert (entry.owner_id, entry.target_type, entry.target_id, entry.target_label) == (SYSTEM_LOG, "user", None, "")
    assert Api(alice()).get("activity-logs/").json()["data"] == []
    (shown,) = Api(adam()).get("activity-logs/").json()["data"]
    assert shown["target"] == {"type": "user", "id": None, "label": ""}


@pytest.mark.django_db
def test_a_label_is_cut_to_what_fits() -> None:
    record(None, "thing.named", Thing(change_label="ä" * 300), at=AT)
    assert Change.objects.get().target_label == "ä" * 255


@pytest.mark.django_db
def test_numbers_count_up_for_each_owner_alone() -> None:
    one, other = Thing(), Thing()
    found = [record(None, "thing.moved", thing, at=AT) for thing in (one, other, one, one, other)]
    assert found == [1, 1, 2, 3, 2]
    assert (seqs(one.change_owner_id), count_of(one.change_owner_id)) == ([1, 2, 3], 3)
    assert (seqs(other.change_owner_id), count_of(other.change_owner_id)) == ([1, 2], 2)


@pytest.mark.django_db
def test_the_rows_own_statement_travels_along() -> None:
    user = alice()
    home = category(user)
    record(None, "category.created", home, at=AT, write=insert_statement(home))
    assert Category.objects.get().name == "Home"
    record(None, "category.updated", home, at=AT, write=update_statement(home, {"name": "Work 100%", "position": 3}))
    assert (home.name, Category.objects.get().name, Category.objects.get().position) == ("Work 100%", "Work 100%", 3)
    record(None, "category.deleted", home, at=AT, write=delete_statement(home))
    assert not Category.objects.exists()
    assert seqs(user.id) == [1, 2, 3]


@pytest.mark.django_db
@pytest.mark.parametrize("with_row", [True, False])
def test_row_counter_and_entry_cost_one_statement_on_postgresql(with_row: bool) -> None:
    user = alice()
    home = category(user)
    record(None, "category.seen", home, at=AT)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        record(None, "category.created", home, at=AT, write=insert_statement(home) if with_row else None)
    on_sqlite = 3 if with_row else 2
    assert len(queries) == (1 if connection.vendor == "postgresql" else on_sqlite)
    assert Category.objects.exists() is with_row
    assert seqs(user.id) == [1, 2]


def test_nothing_is_recorded_outside_a_transaction(committed_db: None) -> None:
    thing = Thing()
    with pytest.raises(transaction.TransactionManagementError):
        record(None, "thing.moved", thing, at=AT)
    with pytest.raises(transaction.TransactionManagementError):
        record_many(None, [Entry("thing.moved", thing, {})], at=AT)
    assert not Change.objects.exists()
    assert not Counter.objects.exists()


def test_an_action_that_fails_leaves_neither_entry_nor_gap(committed_db: None) -> None:
    thing = Thing()
    with transaction.atomic():
        record(None, "thing.moved", thing, at=AT)
    with pytest.raises(RuntimeError), transaction.atomic():
        record(None, "thing.moved", thing, at=AT)
        record_many(None, [Entry("thing.moved", thing, {})] * 3, at=AT)
        raise RuntimeError
    with transaction.atomic():
        assert record(None, "thing.moved", thing, at=AT) == 2
    assert seqs(thing.change_owner_id) == [1, 2]


def test_a_statement_that_the_database_refuses_leaves_neither_entry_nor_gap(committed_db: None) -> None:
    user = alice()
    home = category(user)
    with transaction.atomic():
        record(None, "category.created", home, at=AT, write=insert_statement(home))
    with pytest.raises(IntegrityError), transaction.atomic():
        twin = category(user)
        record(None, "category.created", twin, at=AT, write=insert_statement(twin))
    with transaction.atomic():
        assert record(None, "category.seen", home, at=AT) == 2
    assert [action for action, _ in log_of(user)] == ["category.created", "category.seen"]


@pytest.mark.django_db
def test_several_entries_follow_each_other_after_their_statements() -> None:
    user = alice()
    home, work = category(user), category(user, "Work")
    record(None, "category.seen", home, at=AT)
    record_many(
        somebody(),
        [Entry("category.created", home, {"n": [None, 1]}), Entry("category.created", work, {"n": [None, 2]})],
        at=AT,
        writes=[insert_statement(home), insert_statement(work)],
    )
    record(None, "category.seen", work, at=AT)
    assert log_of(user) == [
        ("category.seen", {}),
        ("category.created", {"n": [None, 1]}),
        ("category.created", {"n": [None, 2]}),
        ("category.seen", {}),
    ]
    assert seqs(user.id) == [1, 2, 3, 4]
    assert Category.objects.count() == 2


@pytest.mark.django_db
@pytest.mark.parametrize("number", [0, 1, actions.BATCH, actions.BATCH + 1, 3 * actions.BATCH])
def test_any_number_of_entries_is_numbered_without_gaps(number: int) -> None:
    thing = Thing()
    entries = [Entry("thing.moved", thing, {"to": [index, index + 1]}) for index in range(number)]
    record_many(None, entries, at=AT)
    found = list(Change.objects.order_by("seq").values_list("seq", "changes"))
    assert found == [(index + 1, {"to": [index, index + 1]}) for index in range(number)]
    assert count_of(thing.change_owner_id) == (number or None)


@pytest.mark.django_db
@pytest.mark.parametrize("number", [1, 7, actions.BATCH + 20])
def test_each_owner_has_its_own_numbers_in_the_order_of_the_entries(number: int) -> None:
    things = [Thing() for _ in range(3)]
    record(None, "thing.moved", things[1], at=AT, changes={"to": [None, -1]})
    entries = [Entry("thing.moved", things[index % 3], {"to": [None, index]}) for index in range(number)]
    record_many(None, entries, at=AT)
    for position, thing in enumerate(things):
        before = [-1] if position == 1 else []
        expected = [*before, *range(position, number, 3)]
        found = Change.objects.filter(owner_id=thing.change_owner_id).order_by("seq").values_list("seq", "changes")
        assert list(found) == [(seq, {"to": [None, index]}) for seq, index in enumerate(expected, start=1)]
        assert count_of(thing.change_owner_id) == (len(expected) or None)


@pytest.mark.django_db
@pytest.mark.parametrize("owners", [1, 100, actions.BATCH])
def test_a_batch_costs_two_statements_however_many_owners_it_has(owners: int) -> None:
    things = [Thing() for _ in range(owners)]
    entries = [Entry("thing.moved", things[index % owners], {}) for index in range(actions.BATCH)]
    with CaptureQueriesContext(connection) as queries:
        record_many(None, entries, at=AT)
    assert len(queries) == 2
    assert Change.objects.count() == actions.BATCH


@pytest.mark.django_db
def test_counters_are_locked_in_the_order_of_their_owners_from_batch_to_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actions, "BATCH", 2)
    things = sorted((Thing() for _ in range(5)), key=lambda thing: thing.change_owner_id, reverse=True)
    with CaptureQueriesContext(connection) as queries:
        record_many(None, [Entry("thing.moved", thing, {}) for thing in things], at=AT)
    locked = "".join(query["sql"] for query in queries if "activity_counter" in query["sql"]).replace("-", "")
    places = [locked.index(thing.change_owner_id.hex) for thing in things]
    assert places == sorted(places, reverse=True)


@pytest.fixture
def heard() -> Iterator[list[Entry]]:
    """What a follower of `thing.sold` and `thing.bought` was told."""
    told: list[Entry] = []
    for action in ("thing.sold", "thing.bought"):
        follow(action, told.append)
    yield told
    for action in ("thing.sold", "thing.bought"):
        actions._followers.pop(action)


@pytest.mark.django_db
def test_a_follower_is_told_of_each_change_of_its_action_and_of_no_other(heard: list[Entry]) -> None:
    thing = Thing()
    record(None, "thing.sold", thing, at=AT, changes={"price": [1, 2]})
    record(None, "thing.moved", thing, at=AT)
    entries = [Entry("thing.bought", thing, {}), Entry("thing.moved", thing, {}), Entry("thing.sold", thing, {})]
    record_many(None, entries, at=AT)
    assert heard == [Entry("thing.sold", thing, {"price": [1, 2]}), entries[0], entries[2]]


@pytest.mark.django_db
def test_to_follow_twice_is_to_follow_once() -> None:
    told: list[Entry] = []
    hear = told.append
    for _ in range(2):
        follow("thing.lent", hear)
    try:
        record(None, "thing.lent", Thing(), at=AT)
    finally:
        actions._followers.pop("thing.lent")
    assert len(told) == 1


def test_a_follower_acts_in_the_same_transaction(committed_db: None) -> None:
    thing = Thing()
    seen: list[list[int]] = []

    def fail(entry: Entry) -> None:
        assert connection.in_atomic_block
        seen.append(seqs(thing.change_owner_id))
        raise RuntimeError

    follow("thing.lost", fail)
    try:
        with pytest.raises(RuntimeError), transaction.atomic():
            record(None, "thing.lost", thing, at=AT)
    finally:
        actions._followers.pop("thing.lost")
    assert seen == [[]]  # it comes just before the entry is written
    assert not Change.objects.exists()


@pytest.mark.django_db
def test_a_statement_runs_alone_too_and_tells_how_many_rows_it_wrote() -> None:
    user = alice()
    home = category(user)
    assert insert_statement(home).run() == 1
    statement = update_statement(home, {"name": "Work"})
    assert isinstance(statement, Statement)
    assert statement.run() == 1
    assert delete_statement(home).run() == 1
    assert delete_statement(home).run() == 0
    assert statement.run() == 0


@pytest.mark.django_db
def test_an_update_writes_its_columns_alone() -> None:
    user = alice()
    insert_statement(category(user)).run()
    mine, theirs = Category.objects.get(), Category.objects.get()
    update_statement(theirs, {"color": "#123456"}).run()
    update_statement(mine, {"name": "Work"}).run()
    stored = Category.objects.get()
    assert (stored.name, stored.color) == ("Work", "#123456")
