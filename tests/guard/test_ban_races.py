"""Bans where commits are real: at once in this process, once when several make them, never when rolled back."""

import ipaddress
from datetime import UTC, datetime

import time_machine
from django.db import transaction
from django.test import Client

from cast import V1, Api, adam
from duely.core.clock import now, rfc3339
from races import together

LATER = "2099-01-31T09:00:00.000Z"


def rows() -> int:
    """How many bans there are."""
    from duely.guard.models import Ban

    return Ban.objects.count()


def entries() -> int:
    """How many entries about bans there are."""
    from duely.activity.models import Change

    return Change.objects.filter(target_type="ban").count()


def test_of_two_concurrent_bans_by_admins_one_is_refused(committed_db: None) -> None:
    boss = Api(adam())
    codes = together(*[lambda: boss.post("bans/", {"network": "203.0.113.9"}).status_code] * 2)
    assert sorted(codes) == [201, 409]
    assert rows() == 1


def test_of_two_concurrent_automatic_bans_one_is_stored(committed_db: None) -> None:
    from duely.guard import actions

    network, at = ipaddress.ip_network("203.0.113.9"), now()
    together(*[lambda: actions.ban_automatically(network=network, now=at)] * 3)
    assert rows() == 1
    assert entries() == 1


def test_the_second_process_takes_over_the_stored_end(committed_db: None) -> None:
    from duely.guard import actions, bans

    boss = Api(adam())
    boss.post("bans/", {"network": "203.0.113.9", "until": LATER})
    bans.reset()
    network = ipaddress.ip_network("203.0.113.9")
    actions.ban_automatically(network=network, now=now())
    end = bans.manual.end_of(network[0], now())
    assert end is not None
    assert rfc3339(end) == LATER
    assert rows() == 1


def test_of_two_concurrent_lifts_one_is_recorded(committed_db: None) -> None:
    boss = Api(adam())
    path = f"bans/{boss.post('bans/', {'network': '203.0.113.9'}).json()['id']}/"
    assert together(*[lambda: boss.delete(path).status_code] * 2) == [204, 204]
    assert entries() == 2


def come(address: str) -> int:
    status: int = Client().get(f"{V1}tasks/", REMOTE_ADDR=address).status_code
    return status


def test_a_ban_works_in_its_process_at_once(committed_db: None) -> None:
    boss = Api(adam())
    path = f"bans/{boss.post('bans/', {'network': '203.0.113.0/24'}).json()['id']}/"
    assert come("203.0.113.9") == 403
    assert come("203.0.114.9") == 401
    boss.patch(path, {"until": LATER})
    with time_machine.travel(datetime(2099, 2, 1, tzinfo=UTC)):
        assert come("203.0.113.9") == 401
    boss.delete(path)
    assert come("203.0.113.9") == 401


def test_an_uncommitted_ban_refuses_nobody(committed_db: None) -> None:
    boss = Api(adam())
    with transaction.atomic():
        assert boss.post("bans/", {"network": "203.0.113.9"}).status_code == 201
        transaction.set_rollback(True)
    assert come("203.0.113.9") == 401
