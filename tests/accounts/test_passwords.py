"""Changing passwords, and how they are kept."""

import io
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import transaction

from cast import PASSWORD, Api, alice, faults, log_of, person
from duely.accounts.hashers import Argon2id
from duely.accounts.models import Session, User
from duely.jobs.models import Job

pytestmark = pytest.mark.django_db
NEW = "another-fine-password"


def change(api: Api, current: str = PASSWORD, new: str = NEW) -> Any:
    return api.post("auth/change-password/", {"current_password": current, "new_password": new})


def can_sign_in(password: str) -> bool:
    return Api().post("auth/login/", {"username": "alice", "password": password}).status_code == 200


def test_a_new_password_replaces_the_old_one() -> None:
    api = Api(alice())
    assert change(api).status_code == 204
    assert log_of(api.user) == [("auth.password_changed", {})]
    assert can_sign_in(NEW)
    assert not can_sign_in(PASSWORD)


def test_all_other_sessions_end_at_once() -> None:
    api = Api(alice())
    pair = Api().post("auth/login/", {"username": "alice", "password": PASSWORD}).json()
    assert change(api).status_code == 204
    assert api.get("users/me/").status_code == 200
    other = Api(headers={"Authorization": f"Bearer {pair['access']}"})
    assert other.get("users/me/").status_code == 401
    assert Api().post("auth/refresh/", {"refresh": pair["refresh"]}).status_code == 401
    assert Session.objects.get(ended_at__isnull=False).end_reason == "password_changed"


def test_a_wrong_current_password_is_refused_and_recorded() -> None:
    api = Api(alice())
    response = change(api, current="wrong-password")
    assert response.status_code == 400
    assert faults(response) == {"current_password": "wrong_password"}
    assert log_of(api.user) == [("auth.password_change_failed", {})]
    assert can_sign_in(PASSWORD)


def test_the_same_password_again_is_refused() -> None:
    api = Api(alice())
    response = change(api, new=PASSWORD)
    assert response.status_code == 400
    assert response.json()["code"] == "password_reused"
    assert faults(response) == {"new_password": "password_reused"}
    assert log_of(api.user) == []


@pytest.mark.parametrize(
    "new, code",
    [
        ("short", "password_too_short"),
        ("password123", "password_too_common"),
        ("9876543210987", "password_entirely_numeric"),
        ("alexandra-b", "password_too_similar"),
        ("x" * 513, "too_long"),
    ],
)
def test_a_weak_password_is_refused(new: str, code: str) -> None:
    api = Api(person("alexandra"))
    assert faults(change(api, new=new)) == {"new_password": code}


def test_passwords_are_taken_as_they_are_sent() -> None:
    api = Api(alice())
    spaced = "  päss wörd ünïcode  "
    assert change(api, new=spaced).status_code == 204
    assert can_sign_in(spaced)
    assert not can_sign_in(spaced.strip())


@pytest.mark.parametrize("length", [64, 512])
def test_long_passwords_count_to_the_last_character(length: int) -> None:
    api = Api(alice())
    long = ("q7" * length)[:length]
    assert change(api, new=long).status_code == 204
    assert can_sign_in(long)
    assert not can_sign_in(long[:-1] + "x")


def test_one_must_be_signed_in() -> None:
    assert change(Api()).status_code == 401


def test_hashes_are_argon2id_with_our_parameters() -> None:
    user = alice()
    assert user.password.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")
    assert person("bob").password.split("$")[:5] == user.password.split("$")[:5]


def test_nobodys_hash_is_like_all_others() -> None:
    from django.contrib.auth.hashers import check_password, identify_hasher

    from duely.accounts.hashers import NOBODYS_HASH

    hasher = identify_hasher(NOBODYS_HASH)
    assert not hasher.must_update(NOBODYS_HASH)
    for guess in ("", "nobody", NOBODYS_HASH):
        assert not check_password(guess, NOBODYS_HASH)


def test_no_more_hashes_at_once_than_there_are_cores() -> None:
    import os
    import threading
    import time

    from django.contrib.auth.hashers import Argon2PasswordHasher

    from duely.accounts import hashers

    running, most, lock = 0, 0, threading.Lock()

    def slow(self: object, password: str, encoded: str) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Argon2PasswordHasher, "verify", slow)
        threads = [threading.Thread(target=hashers.Argon2id().verify, args=("a", "b")) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert 1 <= most <= (os.cpu_count() or 1)


def test_the_password_is_no_secret_that_leaks() -> None:
    api = Api(alice())
    change(api, current="wrong-current-secret", new=NEW)
    change(api)
    everything = str(list(User.objects.values())) + str(log_of(api.user))
    assert PASSWORD not in everything
    assert NEW not in everything
    assert "wrong-current-secret" not in everything
    assert "argon2" not in str(log_of(api.user))
    assert b"argon2" not in api.get("users/me/").content + api.get("profile/").content


def test_a_password_that_changes_during_the_check_is_not_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    from duely.accounts import password_checks

    def check_then_lose(*_: Any, **__: Any) -> bool:
        User.objects.update(password="!changed-meanwhile")
        return True

    api = Api(alice())
    monkeypatch.setattr(password_checks, "is_right", check_then_lose)
    assert faults(change(api)) == {"current_password": "wrong_password"}
    assert User.objects.get().password == "!changed-meanwhile"


# With an Idempotency-Key


def keyed(api: Api, key: str, current: str = PASSWORD) -> Any:
    body = {"current_password": current, "new_password": NEW}
    return api.post("auth/change-password/", body, Idempotency_Key=key)


def test_a_repeated_change_is_answered_as_the_first() -> None:
    api = Api(alice())

    assert [keyed(api, "a").status_code for _ in range(3)] == [204] * 3

    assert log_of(api.user) == [("auth.password_changed", {})]
    assert can_sign_in(NEW)


def test_a_repeated_wrong_password_is_answered_as_the_first() -> None:
    api = Api(alice())

    first, second = keyed(api, "a", "wrong-password"), keyed(api, "a", "wrong-password")

    assert faults(first) == faults(second) == {"current_password": "wrong_password"}
    assert second["Idempotent-Replayed"] == "true"
    assert log_of(api.user) == [("auth.password_change_failed", {})]


def test_a_repetition_hashes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api(alice())
    keyed(api, "a")
    for name in ("encode", "verify"):
        monkeypatch.setattr(Argon2id, name, None)

    assert keyed(api, "a").status_code == 204
    assert keyed(api, "a", "another").json()["code"] == "idempotency_key_reused"


@pytest.mark.parametrize("path", ["auth/change-password/", "auth/change-email/"])
@pytest.mark.parametrize("current", [PASSWORD, "wrong-password"])
def test_no_password_is_hashed_within_a_transaction(
    path: str, current: str, slow_work_in_transactions: list[str]
) -> None:
    """It would keep everyone waiting who writes to SQLite. The fixture looks at every test; this one with a key."""
    api = Api(alice())
    body = {"current_password": current}
    body.update({"new_password": NEW} if "password" in path else {"email": "new@example.org"})

    assert api.post(path, body, Idempotency_Key="a").status_code in (200, 204, 400)

    assert slow_work_in_transactions == []


def test_a_hash_within_a_transaction_is_noticed(slow_work_in_transactions: list[str]) -> None:
    with transaction.atomic():
        make_password(NEW)

    assert slow_work_in_transactions == ["Argon2id.encode"]
    slow_work_in_transactions.clear()


# By the operator


def by_command(monkeypatch: pytest.MonkeyPatch, name: str, *typed: str) -> str:
    answers, out = iter(typed), io.StringIO()
    monkeypatch.setattr("getpass.getpass", lambda *_: next(answers))
    call_command("changepassword", name, stdout=out)
    return out.getvalue()


def test_the_operator_sets_a_password_and_the_user_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    user = alice()
    api = Api(user)
    assert "signed out everywhere" in by_command(monkeypatch, "ALICE@example.org", NEW, NEW)
    assert api.get("users/me/").status_code == 401
    assert Api().post("auth/login/", {"username": "alice", "password": NEW}).status_code == 200
    assert log_of(user)[0] == ("auth.password_changed", {})
    assert Job.objects.get().name == "accounts.tell_owner"


@pytest.mark.parametrize(
    "name, typed, reason",
    [
        ("nobody", (), "There is no user"),
        ("alice", (NEW, NEW + "!"), "differ"),
        ("alice", ("short", "short"), "too short"),
    ],
)
def test_the_operator_is_told_why_nothing_changed(
    name: str, typed: tuple[str, ...], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = alice()
    with pytest.raises(CommandError, match=reason):
        by_command(monkeypatch, name, *typed)
    assert log_of(user) == []
