"""Bans over HTTP: admins make, read, change and lift them, and all of it is recorded."""

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from cast import V1, Api, adam, alice, faults, iris
from duely.activity.actions import SYSTEM_LOG
from duely.activity.models import Change
from duely.core.clock import now
from duely.core.ids import new_id
from duely.guard import actions
from duely.guard.models import Ban

pytestmark = pytest.mark.django_db

LATER = "2099-01-31T09:00:00.000Z"


@pytest.fixture
def boss() -> Api:
    return Api(adam())


def entries() -> list[tuple[str, str, dict[str, Any]]]:
    """(action, network, changes) of every entry about bans."""
    found = Change.objects.filter(owner_id=SYSTEM_LOG, target_type="ban").order_by("seq")
    return list(found.values_list("action", "target_label", "changes"))


def old_ban(network: str = "203.0.113.9/32", **columns: Any) -> Ban:
    columns = {"created_at": now() - timedelta(days=1), "automatic": False, **columns}
    return Ban.objects.create(id=new_id(), network=network, **columns)


def test_a_new_ban_has_a_location_and_is_recorded(boss: Api) -> None:
    answer = boss.post("bans/", {"network": "203.0.113.0/24", "reason": " Spam ", "until": "2099-01-31T10:00:00+01:00"})
    assert answer.status_code == 201
    ban = answer.json()
    assert answer["Location"] == f"/api/v1/bans/{ban['id']}/"
    assert {**ban, "id": "", "created_at": ""} == {
        "id": "",
        "network": "203.0.113.0/24",
        "reason": "Spam",
        "until": LATER,
        "active": True,
        "automatic": False,
        "created_at": "",
        "created_by": {"id": str(boss.user.id), "name": "adam"},
        "lifted_at": None,
    }
    assert boss.get(answer["Location"]).json() == ban
    changes = {
        "network": [None, "203.0.113.0/24"],
        "reason": [None, "Spam"],
        "until": [None, LATER],
        "automatic": [None, False],
    }
    assert entries() == [("security.ip_banned", "203.0.113.0/24", changes)]
    entry = Change.objects.get(target_id=ban["id"])
    assert (entry.actor_id, entry.ip) == (boss.user.id, "127.0.0.1")


@pytest.mark.parametrize(
    "text, network",
    [
        ("203.0.113.7", "203.0.113.7/32"),
        (" 203.0.113.7/32 ", "203.0.113.7/32"),
        ("2001:DB8::1", "2001:db8::1/128"),
        ("2001:db8:0:0::/48", "2001:db8::/48"),
        ("::ffff:203.0.113.7", "203.0.113.7/32"),
        ("::ffff:203.0.113.0/120", "203.0.113.0/24"),
        ("8.0.0.0/8", "8.0.0.0/8"),
        ("2001::/16", "2001::/16"),
    ],
)
def test_a_network_has_one_form(text: str, network: str, boss: Api) -> None:
    answer = boss.post("bans/", {"network": text})
    assert answer.status_code == 201, answer.content
    assert answer.json()["network"] == network
    assert boss.post("bans/", {"network": network}).json()["code"] == "already_exists"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "spam",
        "203.0.113",
        "203.0.113.256",
        "203.0.113.07",
        "203.0.113.0/33",
        "203.0.113.0/",
        "/24",
        "::/129",
        "203.0.113.0/255.255.255.0",
        "203.0.113.0/-1",
        "203.0.113.0/+24",
        "fe80::1%eth0",
        "2130706433",
        "0x7f000001",
        "203.0.113.0/24,8.0.0.0/8",
        "٢٠٣.0.113.7",
        "1" * 1000,
    ],
)
def test_invalid_networks_are_refused(text: str, boss: Api) -> None:
    assert faults(boss.post("bans/", {"network": text})) == {"network": "invalid_network"}
    assert not Ban.objects.exists()


def test_bits_after_the_prefix_are_refused_with_a_suggestion(boss: Api) -> None:
    answer = boss.post("bans/", {"network": "8.0.0.1/8"})
    assert faults(answer) == {"network": "invalid_network"}
    message = answer.json()["errors"][0]["message"]
    assert "8.0.0.0/8" in message
    assert "8.0.0.1 alone" in message


@pytest.mark.parametrize("text", ["0.0.0.0/0", "8.0.0.0/7", "::/0", "2000::/15", "::ffff:0:0/96"])
def test_too_wide_networks_are_refused(text: str, boss: Api) -> None:
    assert faults(boss.post("bans/", {"network": text})) == {"network": "out_of_range"}


@pytest.mark.parametrize("text", ["127.0.0.1", "127.0.0.0/8", "127.9.9.9", "::1", "::/16", "::ffff:127.0.0.1"])
def test_this_machine_cannot_be_banned(text: str, boss: Api) -> None:
    assert faults(boss.post("bans/", {"network": text})) == {"network": "would_lock_out"}


@pytest.mark.parametrize("text", ["192.0.2.1", "192.0.0.0/16", "192.0.2.128/25", "fd00::/32"])
def test_a_trusted_proxy_cannot_be_banned(text: str, boss: Api, settings: Any) -> None:
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("fd00::/64")]
    answer = boss.post("bans/", {"network": text})
    assert faults(answer) == {"network": "would_lock_out"}
    assert "trusted proxy" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    "address, network",
    [("198.51.100.7", "198.51.100.0/24"), ("::ffff:198.51.100.7", "198.51.100.7"), ("2001:db8::1", "2001:db8::/32")],
)
def test_no_admin_locks_themselves_out(address: str, network: str, boss: Api) -> None:
    def ban() -> Any:
        body = {"network": network}
        return Client().post(f"{V1}bans/", body, "application/json", headers=boss.headers, REMOTE_ADDR=address)

    answer = ban()
    assert faults(answer) == {"network": "would_lock_out"}
    assert "lock yourself out" in answer.json()["errors"][0]["message"]
    assert boss.post("bans/", {"network": network}).status_code == 201


def test_a_private_address_can_be_banned_by_hand(boss: Api) -> None:
    assert boss.post("bans/", {"network": "192.168.1.7"}).status_code == 201


@pytest.mark.parametrize(
    "body, expected",
    [
        ({}, {"network": "required"}),
        ({"network": None}, {"network": "invalid_type"}),
        (
            {"network": 7, "reason": 7, "until": 7},
            {"network": "invalid_type", "reason": "invalid_type", "until": "invalid_datetime"},
        ),
        ({"network": "8.8.8.8", "reason": "x" * 256}, {"reason": "too_long"}),
        ({"network": "8.8.8.8", "reason": "a\nb"}, {"reason": "invalid_format"}),
        ({"network": "8.8.8.8", "until": "2099-01-31"}, {"until": "invalid_datetime"}),
        ({"network": "8.8.8.8", "until": "2099-01-31T09:00:00"}, {"until": "invalid_datetime"}),
        ({"network": "8.8.8.8", "until": "2020-01-31T09:00:00Z"}, {"until": "out_of_range"}),
        (
            {"network": "8.0.0.0/7", "until": "2020-01-31T09:00:00Z"},
            {"network": "out_of_range", "until": "out_of_range"},
        ),
        ({"network": "8.8.8.8", "automatic": True}, {"automatic": "unknown_field"}),
    ],
)
def test_a_bad_shape_is_refused_with_every_field(body: dict[str, Any], expected: dict[str, str], boss: Api) -> None:
    answer = boss.post("bans/", body)
    assert answer.status_code == 400
    assert faults(answer) == expected
    assert not Ban.objects.exists()


def test_a_network_is_banned_once_at_a_time(boss: Api) -> None:
    first = boss.post("bans/", {"network": "203.0.113.9"}).json()
    again = boss.post("bans/", {"network": "203.0.113.9/32"})
    assert (again.status_code, again.json()["code"], faults(again)) == (
        409,
        "already_exists",
        {"network": "already_exists"},
    )
    assert boss.post("bans/", {"network": "203.0.113.0/24"}).status_code == 201
    boss.delete(f"bans/{first['id']}/")
    assert boss.post("bans/", {"network": "203.0.113.9", "until": LATER}).status_code == 201
    with time_machine.travel(datetime(2099, 2, 1, tzinfo=UTC)):
        assert Api(boss.user).post("bans/", {"network": "203.0.113.9"}).status_code == 201


def test_a_lifted_ban_stays_in_the_list(boss: Api) -> None:
    ban = boss.post("bans/", {"network": "203.0.113.9"}).json()
    answer = boss.delete(f"bans/{ban['id']}/")
    assert (answer.status_code, answer.content) == (204, b"")
    lifted = boss.get(f"bans/{ban['id']}/").json()
    assert not lifted["active"]
    assert lifted == {**ban, "active": False, "lifted_at": lifted["lifted_at"]}
    assert boss.delete(f"bans/{ban['id']}/").status_code == 204
    assert boss.get(f"bans/{ban['id']}/").json() == lifted
    assert [(action, changes) for action, _, changes in entries()][1:] == [
        ("security.ban_lifted", {"lifted_at": [None, lifted["lifted_at"]]})
    ]


def test_reason_and_end_change_and_nothing_else_is_written(boss: Api) -> None:
    path = f"bans/{boss.post('bans/', {'network': '203.0.113.9', 'reason': 'Spam'}).json()['id']}/"
    assert boss.patch(path, {}).status_code == 200
    assert boss.patch(path, {"reason": "Spam", "until": None}).status_code == 200
    assert len(entries()) == 1
    changed = boss.patch(path, {"reason": "", "until": LATER})
    assert (changed.status_code, changed.json()["reason"], changed.json()["until"]) == (200, "", LATER)
    assert boss.patch(path, {"until": None}).json()["until"] is None
    assert [(action, changes) for action, _, changes in entries()][1:] == [
        ("security.ban_changed", {"reason": ["Spam", ""], "until": [None, LATER]}),
        ("security.ban_changed", {"until": [LATER, None]}),
    ]
    assert faults(boss.patch(path, {"until": "2020-01-01T00:00:00Z"})) == {"until": "out_of_range"}
    assert faults(boss.patch(path, {"network": "8.8.8.8"})) == {"network": "unknown_field"}


@pytest.mark.parametrize(
    "ending", [{"lifted_at": datetime(2026, 1, 1, tzinfo=UTC)}, {"until": datetime(2026, 1, 1, tzinfo=UTC)}]
)
def test_a_ban_that_is_over_cannot_change(ending: dict[str, Any], boss: Api) -> None:
    ban = old_ban(**ending)
    answer = boss.patch(f"bans/{ban.id}/", {"until": LATER})
    assert (answer.status_code, answer.json()["code"]) == (409, "ban_is_over")
    assert boss.delete(f"bans/{ban.id}/").status_code == 204
    assert entries() == []


def test_lists_are_filtered_and_ordered(boss: Api) -> None:
    old_ban("203.0.113.1/32", until=now() + timedelta(days=1), created_at=now() - timedelta(days=3))
    old_ban("203.0.113.2/32", until=now() - timedelta(hours=1), created_at=now() - timedelta(days=2), automatic=True)
    old_ban("203.0.113.3/32", lifted_at=now())
    old_ban("2001:db8::/32", created_at=now())

    def found(query: str) -> list[str]:
        answer = boss.get(f"bans/?{query}")
        assert answer.status_code == 200, answer.content
        return [ban["network"].partition("/")[0].removeprefix("203.0.113.") for ban in answer.json()["data"]]

    assert found("") == ["2001:db8::", "3", "2", "1"]
    assert found("active=true") == ["2001:db8::", "1"]
    assert found("active=false") == ["3", "2"]
    assert found("automatic=true") == ["2"]
    assert found("network=203.0.113.1,2001:DB8::/32") == ["2001:db8::", "1"]
    assert found("network=203.0.113.0/24") == []
    assert found("ordering=created_at") == ["1", "2", "3", "2001:db8::"]
    assert found("ordering=until") == ["2", "1", *found("ordering=until")[2:]]
    assert faults(boss.get("bans/?network=spam")) == {"network": "invalid_network"}
    assert faults(boss.get("bans/?reason=x")) == {"reason": "unknown_parameter"}
    assert [ban["active"] for ban in boss.get("bans/").json()["data"]] == [True, False, False, True]
    first = boss.get("bans/?limit=3&ordering=until").json()
    second = boss.get(f"bans/?limit=3&ordering=until&cursor={first['pagination']['next_cursor']}").json()
    assert len({ban["id"] for ban in [*first["data"], *second["data"]]}) == 4


@pytest.mark.parametrize("person", [alice, iris])
def test_only_admins_see_and_create_bans(person: Any, boss: Api) -> None:
    ban, me = old_ban(), Api(person())
    assert me.get("bans/").status_code == 403
    assert me.post("bans/", {"network": "203.0.113.1"}).status_code == 403
    for path in (f"bans/{ban.id}/", f"bans/{new_id()}/"):
        assert [me.get(path).status_code, me.patch(path, {}).status_code, me.delete(path).status_code] == [404] * 3
    assert Api().get("bans/").status_code == 401
    assert Ban.objects.get().is_active(now())


def test_statements_are_few(boss: Api) -> None:
    ban = old_ban()

    def cost(call: Any) -> int:
        with CaptureQueriesContext(connection) as statements:
            assert call().status_code < 300
        return len([query for query in statements if "SAVEPOINT" not in query["sql"]])

    assert cost(lambda: boss.get("bans/")) == 2
    assert cost(lambda: boss.get(f"bans/{ban.id}/")) == 2
    # The sign-in check, lock, look, and the write with its entry: one statement on PostgreSQL, three on SQLite.
    assert cost(lambda: boss.post("bans/", {"network": "203.0.113.1"})) <= 5
    assert cost(lambda: boss.patch(f"bans/{ban.id}/", {"reason": "x"})) <= 5
    assert cost(lambda: boss.delete(f"bans/{ban.id}/")) <= 5


def test_old_bans_are_purged() -> None:
    long_ago, lately = now() - timedelta(days=91), now() - timedelta(days=89)
    for columns in ({"until": long_ago}, {"lifted_at": long_ago}, {"until": lately}, {"lifted_at": lately}, {}):
        old_ban(created_at=now() - timedelta(days=100), **columns)
    assert actions.purge_bans(now=now()) == 2
    assert actions.purge_bans(now=now()) == 0
    assert Ban.objects.count() == 3
