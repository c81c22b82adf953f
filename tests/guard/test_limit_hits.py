"""Who reaches a limit is put on record: once for each window, at no cost to the request, and with no secret."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from cast import PASSWORD, V1, Api, adam, alice, bob
from duely.activity.actions import SYSTEM_LOG
from duely.activity.models import Change
from duely.guard import limits
from duely.guard.rules import Rate, Scope
from duely.guard.watch import watch

pytestmark = pytest.mark.django_db

THEIRS = "198.51.100.7"


@pytest.fixture
def rates(settings: Any) -> dict[str, Rate | None]:
    """All limits off; a test sets those it wants."""
    settings.RATE_LIMITS = dict.fromkeys(("login", "anonymous", "user"))
    found: dict[str, Rate | None] = settings.RATE_LIMITS
    return found


def come(address: str = THEIRS, **headers: str) -> int:
    status: int = Client().get(f"{V1}tasks/", REMOTE_ADDR=address, headers=headers).status_code
    return status


def on_record() -> list[Change]:
    watch.run_once()
    return list(Change.objects.filter(action="security.rate_limited").order_by("owner_id", "seq"))


def test_an_address_that_reached_a_limit_is_in_the_systems_log(
    rates: dict[str, Rate | None],
) -> None:
    rates["anonymous"] = Rate(2, 60)
    headers = {"User-Agent": "curl/8.5", "X-Request-ID": "r-1"}
    assert [come(**headers) for _ in range(5)] == [401, 401, 429, 429, 429]
    (entry,) = on_record()
    assert (entry.owner_id, entry.actor_id, entry.target_type, entry.target_id) == (SYSTEM_LOG, None, "address", None)
    assert (entry.target_label, entry.ip, entry.user_agent, entry.request_id) == (THEIRS, THEIRS, "curl/8.5", "r-1")
    assert entry.changes == {"scope": [None, "anonymous"], "limit": [None, 2], "seconds": [None, 60]}


def test_a_limit_hit_of_a_user_is_in_their_log(rates: dict[str, Rate | None]) -> None:
    rates["user"] = Rate(1, 60)
    me = Api(alice())
    assert [me.get("tasks/").status_code for _ in range(3)] == [200, 429, 429]
    (entry,) = on_record()
    assert (entry.owner_id, entry.target_type, entry.target_id) == (me.user.id, "user", me.user.id)
    rates["user"] = None
    (shown,) = me.get("activity-logs/").json()["data"]
    assert (shown["action"], shown["changes"]["scope"]) == ("security.rate_limited", [None, "user"])
    assert Api(bob()).get("activity-logs/").json()["data"] == []


def test_a_refused_call_costs_no_query(rates: dict[str, Rate | None]) -> None:
    rates["user"] = rates["anonymous"] = Rate(1, 60)
    me = Api(alice())
    me.get("tasks/")
    come()
    with CaptureQueriesContext(connection) as statements:
        assert [me.get("tasks/").status_code, me.get("tasks/").status_code, come(), come()] == [429] * 4
    assert len(statements) == 0


def test_repeated_refusals_are_one_entry_per_window(rates: dict[str, Rate | None], monkeypatch: Any) -> None:
    """Each time that a place becomes free one call gets through, and the next is a refusal that was not expected."""
    rates["anonymous"] = Rate(3, 60)
    for _ in range(10):
        come()
        limits._refused_until.clear()
    assert len(on_record()) == 1
    limits._recorded_until.clear()
    come()
    assert len(on_record()) == 2


def test_each_scope_and_caller_has_its_own_entry(rates: dict[str, Rate | None]) -> None:
    rates["anonymous"] = rates["login"] = Rate(1, 60)
    for address in (THEIRS, "203.0.113.9"):
        for _ in range(2):
            come(address)
            Client().post(
                f"{V1}auth/login/", {"username": "x", "password": "y"}, "application/json", REMOTE_ADDR=address
            )
    found = {(entry.target_label, entry.changes["scope"][1]) for entry in on_record()}
    assert found == {(address, scope) for address in (THEIRS, "203.0.113.9") for scope in ("anonymous", "login")}


def test_an_ipv6_caller_is_recorded_as_its_network(rates: dict[str, Rate | None]) -> None:
    rates["anonymous"] = Rate(1, 60)
    for number in range(3):
        come(f"2001:db8:1:2::{number}")
    (entry,) = on_record()
    assert (entry.target_label, entry.ip) == ("2001:db8:1:2::/64", "2001:db8:1:2::1")


def test_a_limit_hit_records_no_credentials(rates: dict[str, Rate | None]) -> None:
    rates["login"] = rates["anonymous"] = Rate(1, 60)
    for _ in range(2):
        body = {"username": "alice@example.org", "password": PASSWORD}
        Client().post(f"{V1}auth/login/", body, "application/json")
        come(Authorization="Bearer hidden-in-the-token")
    limits.spend(Scope.ANONYMOUS, "bob@example.org")
    limits.spend(Scope.ANONYMOUS, "bob@example.org")
    text = str(list(Change.objects.filter(action="security.rate_limited").values())) + str(len(on_record()))
    text += str([vars(entry) for entry in on_record()])
    assert "rate_limited" in text
    for secret in ("alice", "bob", PASSWORD, "hidden"):
        assert secret not in text


def test_pending_hits_are_bounded(rates: dict[str, Rate | None], monkeypatch: pytest.MonkeyPatch) -> None:
    rates["anonymous"] = Rate(1, 60)
    monkeypatch.setattr(limits, "MAX_PENDING_HITS", 2)
    monkeypatch.setattr(limits, "MAX_REMEMBERED_KEYS", 2)
    for number in range(4):
        for _ in range(2):
            come(f"198.51.100.{number}")
    assert len(on_record()) == 2


def test_hits_beyond_one_batch_are_all_written(rates: dict[str, Rate | None]) -> None:
    rates["anonymous"] = Rate(1, 60)
    for number in range(250):
        limits.spend(Scope.ANONYMOUS, str(number))
        limits.spend(Scope.ANONYMOUS, str(number))
    assert len(on_record()) == 250


def test_users_and_addresses_together_are_written(rates: dict[str, Rate | None]) -> None:
    rates["anonymous"] = rates["user"] = Rate(1, 60)
    people = [Api(alice()), Api(bob()), Api(adam())]
    for _ in range(2):
        for api in people:
            api.get("tasks/")
        come()
    found = on_record()
    assert {entry.owner_id for entry in found} == {SYSTEM_LOG, *(api.user.id for api in people)}
