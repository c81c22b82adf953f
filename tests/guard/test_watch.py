"""The watch thread of a web process, run by run: its reads, its writes and their cost."""

import ipaddress
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from cast import Api, adam
from duely.core.clock import now
from duely.guard import actions, bans, queries
from duely.guard import watch as module
from duely.guard.models import Ban
from duely.guard.rules import Rate, Scope
from duely.guard.watch import watch

pytestmark = pytest.mark.django_db

NETWORK = ipaddress.ip_network("198.51.100.7")


@pytest.fixture
def boss() -> Api:
    return Api(adam())


def ban(boss: Api, network: str, **body: Any) -> str:
    """Create a ban as another process would: this process does not know it yet."""
    answer = boss.post("bans/", {"network": network, **body})
    assert answer.status_code == 201, answer.content
    return f"bans/{answer.json()['id']}/"


def is_out(address: str = "198.51.100.7") -> bool:
    return bans.refusal(address) is not None


def test_the_first_run_reads_active_bans_alone(boss: Api) -> None:
    ban(boss, "198.51.100.7")
    Ban.objects.create(
        id="0198c3a0-0000-7000-8000-000000000001",
        network="203.0.113.1/32",
        until=now() - timedelta(1),
        created_at=now(),
        automatic=True,
    )
    boss.delete(ban(boss, "203.0.113.2"))
    watch.run_once()
    assert [is_out(), is_out("203.0.113.1"), is_out("203.0.113.2")] == [True, False, False]


def test_later_runs_see_new_changed_and_lifted_bans(boss: Api) -> None:
    watch.run_once()
    path = ban(boss, "198.51.100.7")
    assert not is_out()
    watch.run_once()
    assert is_out()
    boss.patch(path, {"until": "2099-01-31T09:00:00Z"})
    watch.run_once()
    refused = bans.refusal("198.51.100.7")
    assert refused is not None
    assert "2099" in refused.detail
    boss.delete(path)
    watch.run_once()
    assert not is_out()


def test_a_run_without_changes_costs_one_statement(boss: Api) -> None:
    ban(boss, "198.51.100.7")
    watch.run_once()
    with CaptureQueriesContext(connection) as statements:
        watch.run_once()
    assert len(statements) == 1
    assert "activity_counter" in statements[0]["sql"]


def test_other_entries_of_the_log_do_not_reload_bans(boss: Api) -> None:
    watch.run_once()
    Api().post("auth/login/", {"username": "nobody", "password": "wrong"})
    with CaptureQueriesContext(connection) as statements:
        watch.run_once()
    assert len(statements) == 2
    assert not [query for query in statements if "guard_ban" in query["sql"]]


def test_many_changes_reload_all_bans(boss: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CHANGED_NETWORKS", 1)
    watch.run_once()
    for number in range(3):
        ban(boss, f"198.51.100.{number}")
    watch.run_once()
    assert all(is_out(f"198.51.100.{number}") for number in range(3))


def test_the_hourly_reload_removes_ended_bans(boss: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.run_once()
    bans.manual.put(NETWORK, None)
    watch.run_once()
    assert is_out()
    monkeypatch.setattr(module, "RELOAD_SECONDS", -1.0)
    watch.run_once()
    assert not is_out()


def test_a_restored_backup_reloads_all_bans(boss: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    ban(boss, "198.51.100.7")
    watch.run_once()
    last = queries.last_change()
    Ban.objects.all().delete()
    monkeypatch.setattr(queries, "last_change", lambda: last - 1)
    watch.run_once()
    assert not is_out()


def test_an_automatic_ban_gets_its_end_when_stored(boss: Api) -> None:
    actions.ban_automatically(network=NETWORK, now=now() - timedelta(hours=2))
    for _ in range(100):
        bans.count_refusal(actions.anonymous(_origin()).origin)
    first = bans.automatic.end_of(NETWORK[0], now())
    watch.run_once()
    (written,) = Ban.objects.filter(until__gt=now())
    assert first is not None
    assert written.until is not None
    assert (first - written.created_at, written.until - written.created_at) == (timedelta(hours=1), timedelta(hours=2))


def test_a_lifted_ban_restarts_the_count_in_every_process(boss: Api) -> None:
    """This process had counted 60 refusals when another one banned the address."""
    watch.run_once()
    for _ in range(60):
        bans.count_refusal(_origin())
    path = ban(boss, "198.51.100.7")
    watch.run_once()
    boss.delete(path)
    watch.run_once()
    for _ in range(99):
        bans.count_refusal(_origin())
    assert not is_out()
    bans.count_refusal(_origin())
    assert is_out()


def _origin() -> Any:
    from duely.core.actor import Origin

    return Origin(ip="198.51.100.7")


def test_entries_wait_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    from duely.activity.models import Change
    from duely.guard import limits

    settings.RATE_LIMITS = {"anonymous": Rate(1, 60), "user": None, "login": None}
    for _ in range(2):
        limits.spend(Scope.ANONYMOUS, "someone")
    for _ in range(100):
        bans.count_refusal(_origin())

    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("no database")

    with monkeypatch.context() as broken:
        broken.setattr(actions, "record_limit_hits", away)
        broken.setattr(actions, "ban_automatically", away)
        for _ in range(2):
            with pytest.raises(OperationalError):
                watch.run_once()
        assert is_out()
        watch._try_run_once()
    watch._try_run_once()
    assert Ban.objects.count() == 1
    assert Change.objects.filter(action="security.rate_limited").count() == 1
