"""The sweeps against people and against each other, with real connections and commits."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import Q

from cast import Api, alice, bob, log_of, person
from duely.accounts.actions import update_profile
from duely.activity.models import Change, Counter
from duely.core.actor import Actor, Origin
from duely.core.clock import now
from duely.tasks import actions
from duely.tasks.actions import index_stale_words, mark_overdue, pass_reminders, purge_trash
from duely.tasks.models import Reminder, Task
from duely.tasks.queries import due_reminders, late_tasks, old_trash
from races import together

PAST, FUTURE = "2020-01-31T09:00:00.000Z", "2099-01-31T09:00:00.000Z"
PATIENCE_SECONDS = 20


def made(api: Api, due: str = PAST, **fields: Any) -> str:
    """The path of a new task."""
    response = api.post("tasks/", {"title": "Milk", "due_date": due, **fields})
    assert response.status_code == 201, response.content
    return f"tasks/{response.json()['id']}/"


def actor_of(user: Any) -> Actor:
    return Actor(id=user.id, name=user.username, role=user.role, session_id=None, zone=user.time_zone, origin=Origin())


def patched(api: Api, path: str, body: dict[str, Any]) -> None:
    """Change it; someone whose turn did not come is told so and tries again."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (response := api.patch(path, body)).status_code == 503 and time.monotonic() < deadline:
        connection.close()
    assert response.status_code == 200, response.content


def assert_logs_are_whole() -> None:
    """Numbers without gaps, the counter at the last; and of each task the statuses follow from each other."""
    for counter in Counter.objects.all():
        seqs = list(Change.objects.filter(owner_id=counter.owner_id).order_by("seq").values_list("seq", flat=True))
        assert seqs == list(range(1, counter.seq + 1))
    for task in Task.objects.all():
        status = "pending"
        entries = list(Change.objects.filter(Q(target_id=task.id) | MOVED, owner_id=task.owner_id).order_by("seq"))
        for entry in entries:
            if entry.action == "user.days_moved":  # of many tasks; it does not say which
                status = None
            elif "status" in entry.changes:
                former, new = entry.changes["status"]
                assert former == status or None in (former, status)
                status = new
        assert status in (None, task.status)
        moved = sum(entry.action == "user.days_moved" for entry in entries)
        assert len(entries) - moved <= task.version <= len(entries)


MOVED = Q(action="user.days_moved")


@pytest.fixture
def busy() -> Iterator[threading.Event]:
    """Set when one side of a race is in the middle of its transaction."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize(
    "body, status",
    [({"due_date": FUTURE}, "pending"), ({"completed": True}, "completed"), ({"title": "Rye"}, "overdue")],
)
def test_a_sweep_and_an_edit_of_the_same_tasks_end_right_whoever_is_first(
    committed_db: None, body: dict[str, Any], status: str
) -> None:
    me = Api(alice())
    paths = [made(me) for _ in range(12)]

    def edit() -> None:
        for path in paths:
            patched(me, path, body)

    def sweep() -> int:
        return sum(mark_overdue(now=now(), limit=2) for _ in range(12))

    _, marked = together(edit, sweep)
    marked += mark_overdue(now=now())
    assert mark_overdue(now=now()) == 0
    assert list(Task.objects.values_list("status", flat=True)) == [status] * 12
    assert Change.objects.filter(actor_id=None).count() == marked
    assert_logs_are_whole()


def test_a_sweep_passes_by_a_task_that_is_being_edited_and_takes_the_others(
    committed_db: None, busy: threading.Event
) -> None:
    me = Api(alice())
    paths = [made(me), made(me)]
    swept = threading.Event()

    def edit() -> None:
        with transaction.atomic():
            fields = {"due_date": datetime(2099, 1, 31, tzinfo=UTC)}
            actions.update_task(actor=actor_of(me.user), task_id=paths[0].split("/")[1], fields=fields, now=now())
            busy.set()
            if connection.vendor != "postgresql":
                return  # one writer at a time: the sweep begins when this has ended
            # The sweep must not wait for this task; it waits for the owner's counter, which this holds to the end.
            swept.wait(0.3)

    def sweep() -> int:
        assert busy.wait(10)
        marked = mark_overdue(now=now())
        swept.set()
        return marked

    _, marked = together(edit, sweep)
    assert marked == 1
    assert [me.get(path).json()["status"] for path in paths] == ["pending", "overdue"]
    assert_logs_are_whole()


def test_the_index_of_words_gets_the_last_text_of_older_code(committed_db: None, busy: threading.Event) -> None:
    """Older code changes a text that is noted already, while the sweep makes the words of it."""
    me = Api(alice())
    made(me)
    rename = "UPDATE tasks_task SET title = %s"
    with connection.cursor() as cursor:
        cursor.execute(rename, ["Butter"])

    def edit() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(rename, ["Cheese"])
            busy.set()
            time.sleep(0.3)

    def sweep() -> int:
        assert busy.wait(10)
        return index_stale_words()

    _, indexed = together(edit, sweep)
    assert indexed + index_stale_words() == 1
    assert [len(me.get(f"tasks/?search={word}").json()["data"]) for word in ("butter", "cheese")] == [0, 1]


@pytest.mark.parametrize("body, status", [({"due_date": FUTURE}, "in_progress"), ({"completed": True}, "completed")])
def test_an_edit_that_waited_for_the_sweep_finds_the_task_overdue(
    committed_db: None, busy: threading.Event, body: dict[str, Any], status: str
) -> None:
    me = Api(alice())
    path = made(me, status="in_progress")

    def sweep() -> None:
        with transaction.atomic():
            assert mark_overdue(now=now()) == 1
            busy.set()
            time.sleep(0.3)

    def edit() -> None:
        assert busy.wait(10)
        patched(me, path, body)

    together(sweep, edit)
    assert me.get(path).json()["status"] == status
    assert log_of(me.user)[-1][1]["status"] == ["overdue", status]
    assert Task.objects.get().former_status is None


@pytest.mark.parametrize("sweeps", [2, 4])
def test_sweeps_at_once_mark_each_task_once(committed_db: None, sweeps: int) -> None:
    people = [Api(person(f"person{number}")) for number in range(5)]
    for number in range(40):
        made(people[number % 5])

    def sweep() -> int:
        marked = 0
        while number := mark_overdue(now=now(), limit=7):
            marked += number
        return marked

    assert sum(together(*[sweep] * sweeps)) + mark_overdue(now=now()) == 40
    assert set(Task.objects.values_list("status", "version")) == {("overdue", 2)}
    assert Change.objects.filter(actor_id=None, action="task.status_changed").count() == 40
    assert_logs_are_whole()


def test_two_sweeps_do_not_wait_for_each_others_tasks_on_postgresql(committed_db: None) -> None:
    if connection.vendor != "postgresql":
        return  # one writer at a time
    one, other = Api(alice()), Api(bob())
    made(one)
    made(other, "2020-02-01")
    with transaction.atomic():
        assert mark_overdue(now=now(), limit=1) == 1
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(lambda: (mark_overdue(now=now()), connection.close())[0]).result(10) == 1


def test_a_zone_that_changes_during_the_sweep_leaves_overdue_what_is_late_in_it(committed_db: None) -> None:
    """At 11:00 UTC the 31st is over on Kiritimati; in the zone of GMT+12 it has not begun."""
    me = Api(person("alice", time_zone="Pacific/Kiritimati"))
    days = ["2030-01-31", "2030-01-30", "2030-01-31", "2030-02-01", "2030-01-29"]
    paths = [made(me, day) for day in days]
    at = datetime(2030, 1, 31, 11, tzinfo=UTC)
    for zone, last in [("Etc/GMT+12", "2030-01-29"), ("Pacific/Kiritimati", "2030-01-31")] * 4:

        def travel(zone: str = zone) -> None:
            with transaction.atomic():
                actions.move_whole_days(owner_id=me.user.id, zone=zone, now=at)

        together(travel, lambda: mark_overdue(now=at, limit=2), lambda: mark_overdue(now=at, limit=3))
        while mark_overdue(now=at):
            pass
        found = [Task.objects.get(pk=path.split("/")[1]).status for path in paths]
        assert found == ["overdue" if day <= last else "pending" for day in days]
        assert_logs_are_whole()


def test_a_profile_edit_and_sweeps_do_not_lock_each_other_out(committed_db: None) -> None:
    me = Api(person("alice", time_zone="UTC"))
    for number in range(20):
        made(me, f"2020-01-{number + 1:02}", reminders=["-P1D"])

    def travel() -> None:
        for zone in ("Asia/Tokyo", "Europe/Berlin", "America/New_York", "UTC"):
            update_profile(actor=actor_of(me.user), values={"time_zone": zone}, now=now())

    def sweep() -> int:
        return sum(mark_overdue(now=now(), limit=3) for _ in range(10))

    _, *marked = together(travel, sweep, sweep)
    assert sum(marked) + mark_overdue(now=now()) == 20
    assert set(Task.objects.values_list("status", flat=True)) == {"overdue"}
    assert {task.due_at.time().isoformat() for task in Task.objects.all()} == {"23:59:59.999000"}
    assert_logs_are_whole()


def test_purges_at_once_remove_each_task_once(committed_db: None) -> None:
    people = [Api(alice()), Api(bob())]
    for number in range(20):
        path = made(people[number % 2], reminders=["-P1D", FUTURE])
        assert people[number % 2].delete(path).status_code == 204
    later = now() + timedelta(days=31)

    def purge() -> int:
        return sum(purge_trash(now=later, limit=3) for _ in range(8))

    assert sum(together(purge, purge)) + purge_trash(now=later) == 20
    assert not Task.objects.exists()
    assert not Reminder.objects.exists()
    assert Change.objects.filter(action="task.purged").count() == 20
    assert_logs_are_whole()


def test_a_reminder_is_handed_out_once_at_a_time(committed_db: None) -> None:
    me = Api(alice())
    made(me, FUTURE, reminders=[f"2098-01-{day:02}T00:00:00Z" for day in range(1, 11)])
    later = datetime(2098, 2, 1, tzinfo=UTC)
    handed: list[Any] = []

    def send() -> None:
        for _ in range(6):
            with transaction.atomic():
                found = due_reminders(later, 3)
                handed.extend(row.id for row in found)
                assert pass_reminders(reminders=[row.id for row in found], now=later) == len(found)

    together(send, send)
    assert sorted(handed) == sorted(Reminder.objects.values_list("id", flat=True))
    assert len(handed) == 10


def test_an_edit_waits_for_the_reminder_that_is_being_sent_and_sets_it_anew(
    committed_db: None, busy: threading.Event
) -> None:
    me = Api(alice())
    path = made(me, FUTURE, reminders=["-PT1H"])

    def send() -> None:
        later = datetime(2099, 2, 1, tzinfo=UTC)
        with transaction.atomic():
            (found,) = due_reminders(later, 3)
            pass_reminders(reminders=[found.id], now=later)
            busy.set()
            time.sleep(0.3)

    def edit() -> None:
        assert busy.wait(10)
        patched(me, path, {"due_date": "2099-06-30T09:00:00Z"})

    together(send, edit)
    row = Reminder.objects.get()
    assert (row.remind_at, row.passed_at) == (datetime(2099, 6, 30, 8, tzinfo=UTC), None)


@pytest.mark.parametrize("read", [late_tasks, old_trash, due_reminders])
def test_rows_are_locked_in_a_transaction_only(committed_db: None, read: Callable[..., Any]) -> None:
    with pytest.raises(transaction.TransactionManagementError):
        list(read(now(), 1))
