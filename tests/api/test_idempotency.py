"""A retry has one effect, and gets the first answer."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import time_machine
from django.conf import settings as project
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

import contract
from cast import PASSWORD, V1, Api, adam, alice, bob, faults, log_of, person
from duely.accounts.models import User
from duely.activity.models import Change
from duely.api import idempotency
from duely.api.models import KeptAnswer
from duely.core import clock
from duely.core.actor import Actor, Origin
from duely.core.errors import Unavailable
from duely.core.quotas import KEPT_ANSWER_BYTES, KEPT_ANSWERS
from duely.mail import limits as mail_limits
from duely.mail.rules import Allowance
from duely.tasks.models import Category, Task
from quotas import assert_refused, keep_answers
from races import together

on_postgresql = pytest.mark.skipif("sqlite" in project.DATABASES["default"]["ENGINE"], reason="on SQLite writers queue")
MILK = {"title": "Milk"}
KEY = "0198c3a0-5b1e-7000-8000-00000000a11c"


@pytest.fixture
def api() -> Api:
    return Api(alice())


@pytest.fixture(autouse=True)
def as_documented() -> Iterator[None]:
    with contract.watch():
        yield


def replayed(answer: Any) -> bool:
    return bool(answer.headers.get("Idempotent-Replayed") == "true")


def assert_same(first: Any, again: Any) -> None:
    """The second is the first, and says so."""
    assert not replayed(first)
    assert replayed(again)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    names = {"Content-Type", "ETag", "Location"}
    for name in names:
        assert again.headers.get(name) == first.headers.get(name), name


# One effect

WRITES: dict[str, tuple[Callable[[], Any], Callable[[Api], tuple[str, str, Any]], int]] = {
    "createTask": (alice, lambda api: ("POST", "tasks/", MILK), 201),
    "updateTask": (alice, lambda api: ("PATCH", f"tasks/{made(api)}/", {"title": "Bread"}), 200),
    "createCategory": (alice, lambda api: ("POST", "categories/", {"name": "Home"}), 201),
    "updateCategory": (alice, lambda api: ("PATCH", f"categories/{drawer(api)}/", {"name": "Shed"}), 200),
    "updateProfile": (alice, lambda api: ("PATCH", "profile/", {"bio": "Likes lists"}), 200),
    "updateUser": (adam, lambda api: ("PATCH", f"users/{person('carl').id}/", {"role": "intern"}), 200),
    "createBan": (adam, lambda api: ("POST", "bans/", {"network": "203.0.113.7"}), 201),
    "updateBan": (adam, lambda api: ("PATCH", f"bans/{ban(api)}/", {"reason": "Spam"}), 200),
    "changePassword": (
        alice,
        lambda api: ("POST", "auth/change-password/", {"current_password": PASSWORD, "new_password": "another-long-1"}),
        204,
    ),
    "changeEmail": (
        alice,
        lambda api: ("POST", "auth/change-email/", {"email": "new@example.org", "current_password": PASSWORD}),
        200,
    ),
    "changeTasks": (
        alice,
        lambda api: ("POST", "tasks/bulk/", {"operations": [{"op": "create", **MILK}, {"op": "x"}]}),
        200,
    ),
    "createQuickTask": (alice, lambda api: ("POST", "tasks/quick/", {"text": "Milk tomorrow"}), 201),
    "restoreTask": (alice, lambda api: ("POST", f"tasks/{trashed(api)}/restore/", None), 200),
    "resendVerification": (alice, lambda api: ("POST", "auth/resend-verification/", None), 200),
}
WITHOUT_A_RETRY = {"logOutEverywhere"}
"""The session of a retry is over: 401, whatever the key."""


def made(api: Api) -> str:
    return str(api.post("tasks/", MILK).json()["id"])


def trashed(api: Api) -> str:
    task = made(api)
    api.delete(f"tasks/{task}/")
    return task


def drawer(api: Api) -> str:
    return str(api.post("categories/", {"name": "Attic"}).json()["id"])


def ban(api: Api) -> str:
    return str(api.post("bans/", {"network": "198.51.100.7"}).json()["id"])


def test_every_operation_that_takes_a_key_is_tried() -> None:
    takes = {
        operation.name
        for operation in contract.operations()
        if any(parameter["name"] == "Idempotency-Key" for parameter in operation.spec.get("parameters", []))
    }
    assert takes == WRITES.keys() | WITHOUT_A_RETRY


@pytest.mark.django_db
@pytest.mark.parametrize("name", WRITES)
def test_a_retry_changes_nothing_and_gets_the_first_answer(name: str) -> None:
    who, request, status = WRITES[name]
    api = Api(who())
    method, path, body = request(api)
    first = api.call(method, path, body, Idempotency_Key=KEY)
    assert first.status_code == status, first.content
    entries = Change.objects.count()
    for _ in range(2):
        assert_same(first, api.call(method, path, body, Idempotency_Key=KEY))
    assert Change.objects.count() == entries
    assert KeptAnswer.objects.count() == 1


@pytest.mark.django_db
def test_without_a_key_each_request_counts(api: Api) -> None:
    assert {api.post("tasks/", MILK).status_code for _ in range(2)} == {201}
    assert Task.objects.count() == 2
    assert not KeptAnswer.objects.exists()


@pytest.mark.django_db
def test_another_key_is_another_request(api: Api) -> None:
    answers = [api.post("tasks/", MILK, Idempotency_Key=key) for key in ("a", "b", "A")]
    assert not any(map(replayed, answers))
    assert Task.objects.count() == 3


@pytest.mark.django_db
def test_a_key_is_its_users_own(api: Api) -> None:
    other = Api(bob())
    assert api.post("tasks/", MILK, Idempotency_Key=KEY).json()["owner"] == str(api.user.id)
    answer = other.post("tasks/", MILK, Idempotency_Key=KEY)
    assert answer.json()["owner"] == str(other.user.id)
    assert not replayed(answer)


@pytest.mark.django_db
def test_a_new_session_of_the_same_user_may_retry(api: Api) -> None:
    first = api.post("tasks/", MILK, Idempotency_Key=KEY)
    assert_same(first, Api(api.user).post("tasks/", MILK, Idempotency_Key=KEY))


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api/tasks", "/api/tasks/", "/api/v1/tasks"])
def test_another_spelling_of_the_path_is_the_same_request(api: Api, path: str) -> None:
    assert_same(api.post("tasks/", MILK, Idempotency_Key=KEY), api.post(path, MILK, Idempotency_Key=KEY))


# The same key for something else


@pytest.mark.django_db
def test_the_same_key_for_another_request_is_refused(api: Api) -> None:
    task, other = made(api), made(api)
    first = api.patch(f"tasks/{task}/", {"title": "Bread"}, Idempotency_Key=KEY, If_Match='"1"')
    assert first.status_code == 200
    entries = log_of(api.user)
    for answer in (
        api.patch(f"tasks/{task}/", {"title": "Butter"}, Idempotency_Key=KEY, If_Match='"1"'),
        api.patch(f"tasks/{other}/", {"title": "Bread"}, Idempotency_Key=KEY, If_Match='"1"'),
        api.patch(f"tasks/{task}/", {"title": "Bread"}, Idempotency_Key=KEY, If_Match='"2"'),
        api.patch(f"tasks/{task}/", {"title": "Bread"}, Idempotency_Key=KEY),
        api.post("tasks/", {"title": "Bread"}, Idempotency_Key=KEY),
        api.post("categories/", {"name": "Bread"}, Idempotency_Key=KEY),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert log_of(api.user) == entries
    assert_same(first, api.patch(f"tasks/{task}/", {"title": "Bread"}, Idempotency_Key=KEY, If_Match='"1"'))


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256, "a\tb", "\x7f"])
def test_a_malformed_key_is_refused(api: Api, key: str) -> None:
    answer = api.post("tasks/", MILK, Idempotency_Key=key)
    assert (answer.status_code, faults(answer)) == (400, {"Idempotency-Key": "invalid_format"})
    assert not Task.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["x", "x" * 255, '"quoted"', "a,b;c=1", "~!"])
def test_a_key_is_any_visible_ascii_text(api: Api, key: str) -> None:
    assert_same(api.post("tasks/", MILK, Idempotency_Key=key), api.post("tasks/", MILK, Idempotency_Key=key))


# Which answers are kept


@pytest.mark.django_db
def test_a_refusal_is_an_answer_too(api: Api) -> None:
    home = api.post("categories/", {"name": "Home"}).json()
    first = api.post("categories/", {"name": "home"}, Idempotency_Key=KEY)
    assert first.status_code == 409
    api.delete(f"categories/{home['id']}/")
    assert_same(first, api.post("categories/", {"name": "home"}, Idempotency_Key=KEY))
    assert not Category.objects.exists()


@pytest.mark.django_db
def test_the_entry_of_a_refusal_is_recorded_once(api: Api) -> None:
    body = {"current_password": "not-the-password", "new_password": "another-long-sentence"}
    first = api.post("auth/change-password/", body, Idempotency_Key=KEY)
    assert faults(first) == {"current_password": "wrong_password"}
    assert_same(first, api.post("auth/change-password/", body, Idempotency_Key=KEY))
    assert [action for action, _ in log_of(api.user)] == ["auth.password_change_failed"]


@pytest.mark.django_db
@pytest.mark.parametrize("body", [{"title": ""}, {"nonsense": 1}, b"{"])
def test_a_request_that_cannot_be_read_leaves_the_key_free(api: Api, body: Any) -> None:
    assert api.post("tasks/", body, Idempotency_Key=KEY).status_code == 400
    answer = api.post("tasks/", MILK, Idempotency_Key=KEY)
    assert (answer.status_code, replayed(answer)) == (201, False)


@pytest.mark.django_db
def test_an_anonymous_caller_learns_nothing_about_a_key(api: Api) -> None:
    api.post("tasks/", MILK, Idempotency_Key=KEY)
    assert Api().post("tasks/", MILK, Idempotency_Key=KEY).status_code == 401


@pytest.mark.django_db
def test_too_many_requests_leave_the_key_free(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"email": "new@example.org", "current_password": PASSWORD}
    with monkeypatch.context() as limited:
        limited.setattr(mail_limits, "REQUESTER_SHARES", {**mail_limits.REQUESTER_SHARES, Allowance.LINKS: 1})
        assert api.post("auth/change-email/", {**body, "email": "NEW@example.org"}).status_code == 200
        assert api.post("auth/change-email/", body, Idempotency_Key=KEY).status_code == 429
    answer = api.post("auth/change-email/", body, Idempotency_Key=KEY)
    assert (answer.status_code, replayed(answer)) == (200, False)


@pytest.mark.django_db
def test_a_sign_in_with_a_key_is_not_stored() -> None:
    alice()
    body = {"username": "alice", "password": PASSWORD}
    pairs = [Api().post("auth/login/", body, Idempotency_Key=KEY).json() for _ in range(2)]
    assert pairs[0]["refresh"] != pairs[1]["refresh"]
    assert not KeptAnswer.objects.exists()


@pytest.mark.django_db
def test_a_fingerprint_cannot_be_computed_without_the_secret_key(api: Api, settings: Any) -> None:
    """A plain digest of a body with a password would be a fast one of the password."""
    first = api.post("tasks/", MILK, Idempotency_Key=KEY)
    before = KeptAnswer.objects.get().fingerprint
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another-secret-key-for-this-test-0123456789"
    again = Api(api.user).post("tasks/", MILK, Idempotency_Key=KEY)
    assert_same(first, again)
    KeptAnswer.objects.all().delete()
    Api(api.user).post("tasks/", MILK, Idempotency_Key=KEY)
    assert KeptAnswer.objects.get().fingerprint != before


@pytest.mark.django_db
def test_a_refusal_that_is_our_fault_is_undone_and_not_kept(api: Api) -> None:
    request: Any = RequestFactory().post("/", headers={"Idempotency-Key": KEY})
    request.actor = Actor(
        id=api.user.id, name="alice", role="member", session_id=None, zone="UTC", origin=Origin(request_id="x")
    )

    def answer(_: Any) -> HttpResponse:
        person("carl")
        raise Unavailable

    with pytest.raises(Unavailable):
        idempotency.answer_once(request, ["x"], answer)
    assert not User.objects.filter(username="carl").exists()
    assert not KeptAnswer.objects.exists()


# For a day


@pytest.mark.django_db
def test_an_answer_is_kept_for_a_day_by_the_clock_alone(api: Api) -> None:
    first = api.post("tasks/", MILK, Idempotency_Key=KEY)
    with time_machine.travel(clock.now() + timedelta(hours=23, minutes=59)):
        assert_same(first, Api(api.user).post("tasks/", MILK, Idempotency_Key=KEY))
    with time_machine.travel(clock.now() + timedelta(hours=24, seconds=1)):
        later = Api(api.user).post("tasks/", MILK, Idempotency_Key=KEY)
        assert (later.status_code, replayed(later)) == (201, False)
        assert_same(later, Api(api.user).post("tasks/", MILK, Idempotency_Key=KEY))
    assert Task.objects.count() == 2


@pytest.mark.django_db
def test_old_answers_are_removed(api: Api, work: Callable[[Any], None]) -> None:
    from duely.jobs import jobs
    from duely.jobs.queue import enqueue

    api.post("tasks/", MILK, Idempotency_Key="old")
    with time_machine.travel(clock.now() + timedelta(hours=25)):
        Api(api.user).post("tasks/", MILK, Idempotency_Key="new")
        with transaction.atomic():
            enqueue(jobs.purge_kept_answers)
        work(clock.now())
        assert KeptAnswer.objects.count() == 1
        answer = Api(api.user).post("tasks/", MILK, Idempotency_Key="new")
        assert replayed(answer)
    assert idempotency.purge_answers() == 0


# At once


def test_of_many_at_once_with_one_key_one_has_an_effect(committed_db: None) -> None:
    api = Api(alice())
    answers = together(*[lambda: api.post("tasks/", MILK, Idempotency_Key=KEY)] * 12)
    assert Task.objects.count() == 1
    good = [answer for answer in answers if answer.status_code == 201]
    busy = [answer.json()["code"] for answer in answers if answer.status_code != 201]
    assert set(busy) <= {"idempotency_in_progress"}
    assert len({answer.content for answer in good}) == 1
    assert [replayed(answer) for answer in good].count(False) == 1
    if connection.vendor == "sqlite":
        assert not busy


def in_the_way(url: dict[str, Any], user: Any) -> Any:
    """Someone else has the user's row locked."""
    other = psycopg.connect(
        dbname=url["NAME"],
        host=url["HOST"] or None,
        port=url["PORT"] or None,
        user=url["USER"],
        password=url["PASSWORD"],
    )
    other.execute("SELECT 1 FROM accounts_user WHERE id = %s FOR UPDATE", [user.id])
    return other


@on_postgresql
def test_a_repetition_during_the_first_request_gets_409(committed_db: None) -> None:
    api, begun = Api(alice()), threading.Event()

    def second() -> Any:
        begun.wait(10)
        return api.post("tasks/", MILK, Idempotency_Key=KEY)

    def first() -> Any:
        with transaction.atomic():
            answer = api.post("tasks/", MILK, Idempotency_Key=KEY)
            begun.set()
            assert done.wait(10)
        return answer

    done = threading.Event()

    def second_then_done() -> Any:
        try:
            return second()
        finally:
            done.set()

    one, two = together(first, second_then_done)
    assert one.status_code == 201
    assert (two.status_code, two.json()["code"]) == (409, "idempotency_in_progress")
    assert_same(one, api.post("tasks/", MILK, Idempotency_Key=KEY))


@on_postgresql
def test_a_fault_leaves_the_key_free(committed_db: None) -> None:
    """The row that it needs is locked for longer than it waits: 503, and nothing is kept."""
    api = Api(alice())
    with closing(in_the_way(connection.settings_dict, api.user)):
        assert api.post("tasks/", MILK, Idempotency_Key=KEY).status_code == 503
    answer = api.post("tasks/", MILK, Idempotency_Key=KEY)
    assert (answer.status_code, replayed(answer)) == (201, False)
    assert Task.objects.count() == 1


def test_statements_of_a_request_with_a_key(committed_db: None) -> None:
    """The look for an answer, and the answer that is kept. On PostgreSQL the key's lock and a transaction besides."""
    api = Api(alice())
    api.post("tasks/", MILK)
    costs = []
    for headers in ({}, {"Idempotency_Key": KEY}, {"Idempotency_Key": KEY}):
        with CaptureQueriesContext(connection) as captured:
            api.post("tasks/", MILK, **headers)
        costs.append(len(captured))
    plain, keyed, again = costs
    lock = connection.vendor == "postgresql"
    assert keyed == plain + 2 + 3 * lock
    assert again == 4 + lock  # with the sign-in check, BEGIN and COMMIT


# Killed on the way

CHILD = Path(__file__).parent / "killed_request.py"


@pytest.fixture
def killing(committed_db: None) -> Iterator[Callable[..., Any]]:
    """Sends a request from a process that is killed at the step of this number; says what became of it."""
    database = json.dumps({key: connection.settings_dict[key] for key in ("NAME", "HOST", "PORT", "USER", "PASSWORD")})
    command = [sys.executable, str(CHILD), database]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def send(step: int, **request: Any) -> Any:
            process.stdin.write(json.dumps({"step": step, **request}) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield send
        process.stdin.close()
        assert process.wait(10) == 0


@pytest.mark.process
def test_wherever_a_request_is_killed_the_retry_has_one_effect_and_the_first_answer(
    killing: Callable[..., Any],
) -> None:
    api = Api(alice())
    request = {"path": V1 + "tasks/", "body": MILK}
    steps = killing(-1, **request, headers={**api.headers, "Idempotency-Key": "none"})
    assert steps[-2:] == ["after COMMIT", "before the answer"]
    assert any("INSERT" in name and "tasks_task" in name for name in steps)
    assert any("INSERT" in name and "api_kept_answer" in name for name in steps)
    for number, name in enumerate(steps):
        Task.objects.all().delete()
        assert killing(number, **request, headers={**api.headers, "Idempotency-Key": f"{number}"}) == -signal.SIGKILL
        had_effect = Task.objects.exists()
        assert had_effect == (name in steps[-2:]), name
        answer = api.post("tasks/", MILK, Idempotency_Key=f"{number}")
        assert (answer.status_code, replayed(answer)) == (201, had_effect), name
        assert answer.json()["id"] == str(Task.objects.get().id)
    assert log_of(api.user) == [("task.created", log_of(api.user)[0][1])] * (len(steps) + 1)


# Long texts

LONG = "d" * 60_000


def kept_bytes() -> int:
    return sum(len(bytes(kept.body)) for kept in KeptAnswer.objects.all())


@pytest.mark.django_db
def test_a_long_description_is_not_kept_a_second_time(api: Api) -> None:
    task = api.post("tasks/", {"title": "x", "description": LONG}).json()
    first = api.patch(f"tasks/{task['id']}/", {"priority": "low"}, Idempotency_Key=KEY)

    again = api.patch(f"tasks/{task['id']}/", {"priority": "low"}, Idempotency_Key=KEY)

    assert_same(first, again)
    assert again.json()["description"] == LONG
    assert kept_bytes() < 2_000


@pytest.mark.django_db
def test_many_long_descriptions_are_not_kept_either(api: Api) -> None:
    ids = [api.post("tasks/", {"title": "x", "description": LONG}).json()["id"] for _ in range(3)]
    body = {"operations": [{"op": "update", "id": task_id, "priority": "low"} for task_id in ids]}
    first = api.post("tasks/bulk/", body, Idempotency_Key=KEY)

    again = api.post("tasks/bulk/", body, Idempotency_Key=KEY)

    assert_same(first, again)
    assert [result["body"]["description"] for result in again.json()["results"]] == [LONG] * 3
    assert kept_bytes() < 5_000


@pytest.mark.django_db
def test_a_repeated_answer_has_the_current_description(api: Api) -> None:
    body = {"title": "x", "description": LONG}
    task = api.post("tasks/", body, Idempotency_Key=KEY).json()
    api.patch(f"tasks/{task['id']}/", {"description": "short"})

    assert api.post("tasks/", body, Idempotency_Key=KEY).json() == {**task, "description": "short"}
    Task.objects.all().delete()
    assert api.post("tasks/", body, Idempotency_Key=KEY).json() == {**task, "description": ""}


@pytest.mark.django_db
def test_a_refusal_with_a_long_description_is_repeated_complete(api: Api) -> None:
    task = api.post("tasks/", {"title": "x", "description": LONG}).json()
    path, stale = f"tasks/{task['id']}/", {"If_Match": '"7"', "Idempotency_Key": KEY}
    first = api.patch(path, {"priority": "low"}, **stale)

    again = api.patch(path, {"priority": "low"}, **stale)

    assert (first.status_code, again.json()["current"]["description"]) == (412, LONG)
    assert kept_bytes() < 2_000


@pytest.mark.django_db
def test_many_short_descriptions_are_kept_as_they_were(api: Api) -> None:
    body = {"operations": [{"op": "create", "title": "x", "description": "d" * 100} for _ in range(20)]}
    first = api.post("tasks/bulk/", body, Idempotency_Key=KEY)
    Task.objects.update(description="changed")

    assert_same(first, api.post("tasks/bulk/", body, Idempotency_Key=KEY))


@pytest.mark.django_db
def test_an_answer_that_is_too_large_even_so_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "MAX_ANSWER_BYTES", 100)

    answer = api.post("tasks/", MILK, Idempotency_Key=KEY)

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert not Task.objects.exists()


# Quotas


@pytest.mark.django_db
def test_a_user_has_at_most_so_many_kept_answers(api: Api) -> None:
    keep_answers(api.user, KEPT_ANSWERS - 1)
    first = api.post("tasks/", MILK, Idempotency_Key=KEY)

    assert_refused(api.post("tasks/", MILK, Idempotency_Key="more"), "kept_answers", KEPT_ANSWERS)

    assert Task.objects.count() == 1
    assert KeptAnswer.objects.count() == KEPT_ANSWERS
    assert_same(first, api.post("tasks/", MILK, Idempotency_Key=KEY))
    assert api.post("tasks/", MILK, Idempotency_Key=KEY, If_Match='"1"').json()["code"] == "idempotency_key_reused"
    assert api.post("tasks/", MILK).status_code == 201
    assert Api(bob()).post("tasks/", MILK, Idempotency_Key="more").status_code == 201


@pytest.mark.django_db
def test_kept_answers_have_a_quota_of_bytes(api: Api) -> None:
    first = api.post("tasks/", MILK, Idempotency_Key=KEY)
    assert KeptAnswer.objects.get().size == len(first.content)
    keep_answers(api.user, 1, size=KEPT_ANSWER_BYTES - len(first.content) - 1)
    assert api.post("tasks/", MILK, Idempotency_Key="last").status_code == 201

    answer = api.post("tasks/", MILK, Idempotency_Key="more")

    assert_refused(answer, "kept_answer_bytes", KEPT_ANSWER_BYTES)
    assert "without the key" in answer.json()["detail"]
    assert Task.objects.count() == 2
    assert_same(first, api.post("tasks/", MILK, Idempotency_Key=KEY))


@pytest.mark.django_db
def test_answers_leave_the_quota_by_the_clock_alone(api: Api) -> None:
    api.post("tasks/", MILK, Idempotency_Key=KEY)
    keep_answers(api.user, KEPT_ANSWERS - 1)
    with time_machine.travel(clock.now() + timedelta(hours=24, seconds=1)):
        later = Api(api.user)
        assert later.post("tasks/", MILK, Idempotency_Key="more").status_code == 201
        assert later.post("tasks/", MILK, Idempotency_Key=KEY).status_code == 201
        keep_answers(api.user, KEPT_ANSWERS - 2)
        assert later.post("tasks/", MILK, Idempotency_Key="last").status_code == 403


@pytest.mark.django_db
def test_a_refused_key_is_free_for_its_request(api: Api) -> None:
    keep_answers(api.user, KEPT_ANSWERS)
    assert api.post("tasks/", MILK, Idempotency_Key=KEY).status_code == 403
    KeptAnswer.objects.all().delete()
    answer = api.post("tasks/", MILK, Idempotency_Key=KEY)
    assert (answer.status_code, replayed(answer)) == (201, False)


@pytest.mark.django_db
def test_a_password_is_not_tried_beyond_the_quota(api: Api) -> None:
    keep_answers(api.user, KEPT_ANSWERS)
    for password in (PASSWORD, "not-the-password"):
        body = {"current_password": password, "new_password": "another-long-1"}
        answer = api.post("auth/change-password/", body, Idempotency_Key=password.replace(" ", "-"))
        assert_refused(answer, "kept_answers", KEPT_ANSWERS)
    assert log_of(api.user) == []


def test_requests_at_once_pass_the_quota_by_their_number_at_most(committed_db: None) -> None:
    api = Api(alice())
    keep_answers(api.user, KEPT_ANSWERS - 1)
    answers = together(*[lambda key=key: api.post("tasks/", MILK, Idempotency_Key=f"{key}") for key in range(6)])
    created = [answer for answer in answers if answer.status_code == 201]
    assert {answer.json()["code"] for answer in answers if answer.status_code != 201} <= {"quota_exceeded"}
    assert KeptAnswer.objects.count() == KEPT_ANSWERS - 1 + len(created)
    assert Task.objects.count() == len(created) >= 1
    if connection.vendor == "sqlite":
        assert len(created) == 1
    assert_refused(api.post("tasks/", MILK, Idempotency_Key="later"), "kept_answers", KEPT_ANSWERS)


@pytest.mark.django_db
def test_an_answer_of_the_release_before_is_repeated(api: Api) -> None:
    """It was written without its user and its size."""
    first = api.post("tasks/", MILK, Idempotency_Key=KEY)
    kept = KeptAnswer.objects.values("id", "fingerprint", "status", "headers", "body", "created_at").get()
    KeptAnswer.objects.all().delete()
    columns = {**kept, "headers": json.dumps(kept["headers"])}
    with connection.cursor() as cursor:
        fields = [field for field in KeptAnswer._meta.local_concrete_fields if field.name in columns]
        values = [
            columns[f.name] if f.name == "headers" else f.get_db_prep_save(columns[f.name], connection) for f in fields
        ]
        names, marks = ", ".join(f.column for f in fields), ", ".join(["%s"] * len(fields))
        cursor.execute(f"INSERT INTO api_kept_answer ({names}) VALUES ({marks})", values)

    assert_same(first, api.post("tasks/", MILK, Idempotency_Key=KEY))
