"""People without an account write a bounded number of entries into the log, which nobody can delete."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from cast import Api, alice
from duely.activity import anonymous
from duely.activity.actions import SYSTEM_LOG, Entry, Nobody, record, record_many
from duely.activity.models import Change
from duely.core.clock import now

pytestmark = pytest.mark.django_db
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def three_in_an_hour(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(anonymous.window, "most", 3)
    yield
    anonymous.window.clear()


def actions() -> list[str]:
    return list(Change.objects.filter(owner_id=SYSTEM_LOG).order_by("seq").values_list("action", flat=True))


def fail_to_sign_in(name: str) -> int:
    return int(Api().post("auth/login/", {"username": name, "password": "not the password"}).status_code)


def test_failed_sign_ins_of_nobody_fill_no_log() -> None:
    statuses = {fail_to_sign_in(f"nobody{number}") for number in range(6)}

    assert statuses == {401}
    assert actions() == ["auth.login_failed"] * 3 + ["security.entries_left_out"]
    assert Change.objects.get(action="security.entries_left_out").changes == {"limit": [None, 3]}


def test_entries_of_those_with_an_account_are_all_there() -> None:
    alice()
    for number in range(4):
        fail_to_sign_in(f"nobody{number}")

    assert fail_to_sign_in("alice") == 401

    assert Change.objects.exclude(owner_id=SYSTEM_LOG).filter(action="auth.login_failed").count() == 1


def test_many_entries_at_once_are_counted_too() -> None:
    entries = [Entry("security.rate_limited", Nobody("address"), {}) for _ in range(6)]

    record_many(None, entries, at=now())

    assert actions() == ["security.rate_limited"] * 3 + ["security.entries_left_out"]


def test_other_entries_of_the_instance_are_never_left_out() -> None:
    for _ in range(6):
        assert record(None, "security.key_changed", Nobody("secret_key"), at=now()) > 0

    assert actions() == ["security.key_changed"] * 6


@pytest.mark.parametrize("later", [timedelta(hours=1), timedelta(seconds=-1)])
def test_the_next_hour_has_room_again(later: timedelta) -> None:
    for at in (*[NOON] * 5, NOON + later):
        record(None, "auth.login_failed", Nobody("user"), at=at)

    assert actions() == ["auth.login_failed"] * 3 + ["security.entries_left_out", "auth.login_failed"]
