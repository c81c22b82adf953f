"""Numbers of the change log under concurrent writers, with real connections and commits."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import UUID

import pytest
from django.db import connection, transaction

from cast import Api, alice, bob
from duely.activity.actions import Entry, record, record_many
from duely.activity.models import Change, Counter
from duely.core.ids import new_id
from duely.tasks.models import Category, Task
from races import in_thread, together

AT = datetime(2026, 3, 1, tzinfo=UTC)


class Thing:
    """Something that changes."""

    change_type = "thing"
    change_label = "thing"

    def __init__(self, owner: UUID) -> None:
        self.change_owner_id = owner
        self.change_id = new_id()


def seqs(owner: UUID) -> list[int]:
    return list(Change.objects.filter(owner_id=owner).order_by("seq").values_list("seq", flat=True))


@pytest.mark.parametrize("writers", [2, 8])
def test_concurrent_writers_of_one_owner_leave_no_gap(committed_db: None, writers: int) -> None:
    me = Api(alice())
    each = 12 // writers * 2
    statuses: list[int] = []

    def write(name: int) -> None:
        for number in range(each):
            statuses.append(me.post("tasks/", {"title": f"{name}.{number}"}).status_code)
            connection.close()

    together(*(lambda name=name: write(name) for name in range(writers)))
    # A writer that had to wait too long is told so, and has left nothing.
    assert set(statuses) <= {201, 503}
    made = statuses.count(201)
    assert made > writers
    assert Task.objects.count() == made
    assert seqs(me.user.id) == list(range(1, made + 1))
    assert Counter.objects.get(owner_id=me.user.id).seq == made
    targets = Change.objects.values_list("target_id", flat=True)
    assert set(targets) == set(Task.objects.values_list("id", flat=True))


def test_numbers_appear_in_commit_order(committed_db: None) -> None:
    owner = new_id()
    done = threading.Event()
    snapshots: list[list[int]] = []

    def write(pause: float) -> None:
        for _ in range(15):
            with transaction.atomic():
                record(None, "thing.moved", Thing(owner), at=AT)
                time.sleep(pause)

    def watch() -> None:
        while not done.is_set():
            snapshots.append(seqs(owner))
            time.sleep(0.001)

    def write_all() -> None:
        with ThreadPoolExecutor(2) as pool:
            works = [pool.submit(in_thread, lambda pause=pause: write(pause)) for pause in (0.004, 0)]
            for work in works:
                work.result(60)
        done.set()

    watcher = threading.Thread(target=lambda: in_thread(watch))
    connection.close()
    watcher.start()
    try:
        write_all()
    finally:
        done.set()
        watcher.join(10)
    assert seqs(owner) == list(range(1, 31))
    assert len({len(snapshot) for snapshot in snapshots}) > 3
    for snapshot in snapshots:
        assert snapshot == list(range(1, len(snapshot) + 1))


@pytest.mark.parametrize("ends_well", [True, False])
def test_a_second_writer_waits_for_the_first_and_takes_the_next_free_number(
    committed_db: None, ends_well: bool
) -> None:
    owner = new_id()
    has_number, may_end = threading.Event(), threading.Event()
    order: list[str] = []

    def first() -> None:
        try:
            with transaction.atomic():
                assert record(None, "thing.moved", Thing(owner), at=AT) == 1
                has_number.set()
                may_end.wait(10)
                order.append("first")
                if not ends_well:
                    raise RuntimeError
        except RuntimeError:
            pass

    def second() -> int:
        has_number.wait(10)
        with transaction.atomic():
            number = record(None, "thing.moved", Thing(owner), at=AT)
            order.append("second")
        return number

    def conductor() -> None:
        has_number.wait(10)
        time.sleep(0.3)
        assert order == []
        may_end.set()

    _, number, _ = together(first, second, conductor)
    assert order == ["first", "second"]
    assert number == (2 if ends_well else 1)
    assert seqs(owner) == list(range(1, number + 1))


def test_writers_of_different_owners_do_not_wait_for_each_other_on_postgresql(committed_db: None) -> None:
    if connection.vendor != "postgresql":
        # SQLite has one writer at a time; what holds there is that both get through.
        users = [Api(alice()), Api(bob())]
        results = together(*(lambda api=api: api.post("tasks/", {"title": "x"}).status_code for api in users))
        assert results == [201, 201]
        return
    one, other = new_id(), new_id()
    has_number, may_end = threading.Event(), threading.Event()

    def first() -> None:
        with transaction.atomic():
            record(None, "thing.moved", Thing(one), at=AT)
            has_number.set()
            assert may_end.wait(10)

    def second() -> None:
        has_number.wait(10)
        with transaction.atomic():
            record(None, "thing.moved", Thing(other), at=AT)
        may_end.set()

    together(first, second)
    assert (seqs(one), seqs(other)) == ([1], [1])


def test_two_who_record_for_many_owners_never_wait_for_each_other_both_at_once(committed_db: None) -> None:
    owners = [new_id() for _ in range(40)]
    rounds = 10

    def write(order: list[UUID]) -> None:
        for _ in range(rounds):
            with transaction.atomic():
                record_many(None, [Entry("thing.moved", Thing(owner), {}) for owner in order], at=AT)

    together(lambda: write(owners), lambda: write(owners[::-1]), lambda: write(owners[20:] + owners[:20]))
    for owner in owners:
        assert seqs(owner) == list(range(1, 3 * rounds + 1))


def test_who_waits_for_a_row_does_not_hold_the_counter_meanwhile(committed_db: None) -> None:
    me = Api(alice())
    is_written = threading.Event()

    def many() -> None:
        with transaction.atomic():
            home = Category.objects.create(
                id=new_id(), owner_id=me.user.id, name="Home", name_key="home", position=0, created_at=AT, updated_at=AT
            )
            is_written.set()
            time.sleep(0.4)
            record_many(None, [Entry("thing.moved", home, {})], at=AT)

    def one() -> int:
        is_written.wait(10)
        return me.post("categories/", {"name": "Home"}).status_code

    assert together(many, one) == [None, 409]
    assert seqs(me.user.id) == [1]
