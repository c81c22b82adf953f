"""The change log over HTTP: everything that happens stands in it, and who may read it."""

import ipaddress
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_django
from django.test import Client
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import contract
from cast import V1, Api, adam, alice, bob, faults, iris, mallory
from duely.core.ids import new_id

pytestmark = pytest.mark.django_db


def entries(api: Api, query: str = "ordering=seq") -> list[dict[str, Any]]:
    response = api.get(f"activity-logs/?{query}")
    assert response.status_code == 200, response.content
    return response.json()["data"]


def good(response: Any) -> Any:
    assert response.status_code in {200, 201, 204}, response.content
    return response.json() if response.content else None


def test_every_change_is_one_entry_with_old_and_new() -> None:
    me = Api(alice())
    category = good(me.post("categories/", {"name": "Home", "color": "#123456"}))
    task = good(
        me.post("tasks/", {"title": "Milk", "category": category["id"], "tags": ["a"], "due_date": "2099-01-31"})
    )
    path = f"tasks/{task['id']}/"
    good(me.patch(path, {"title": "Bread", "due_date": "2099-01-31T09:00:00Z"}))
    done = good(me.patch(path, {"status": "done", "priority": "high", "tags": []}))
    good(me.put(path, {"title": "Bread"}))
    good(me.patch(f"categories/{category['id']}/", {"name": "Work", "position": 2}))
    good(me.patch(path, {"category": category["id"]}))
    good(me.delete(f"categories/{category['id']}/"))
    good(me.delete(path))
    deleted_at = entries(me)[-1]["at"]
    assert [(entry["action"], entry["target"]["label"], entry["changes"]) for entry in entries(me)] == [
        ("category.created", "Home", {"name": [None, "Home"], "color": [None, "#123456"], "position": [None, 0]}),
        (
            "task.created",
            "Milk",
            {
                "title": [None, "Milk"],
                "status": [None, "pending"],
                "priority": [None, "medium"],
                "due_date": [None, "2099-01-31"],
                "category": [None, category["id"]],
                "tags": [None, ["a"]],
            },
        ),
        ("task.updated", "Bread", {"title": ["Milk", "Bread"], "due_date": ["2099-01-31", "2099-01-31T09:00:00.000Z"]}),
        (
            "task.status_changed",
            "Bread",
            {
                "status": ["pending", "completed"],
                "completed_at": [None, done["completed_at"]],
                "priority": ["medium", "high"],
                "tags": [["a"], []],
            },
        ),
        (
            "task.status_changed",
            "Bread",
            {
                "status": ["completed", "pending"],
                "completed_at": [done["completed_at"], None],
                "priority": ["high", "medium"],
                "due_date": ["2099-01-31T09:00:00.000Z", None],
                "category": [category["id"], None],
            },
        ),
        ("category.updated", "Work", {"name": ["Home", "Work"], "position": [0, 2]}),
        ("task.updated", "Bread", {"category": [None, category["id"]]}),
        ("task.updated", "Bread", {"category": [category["id"], None]}),
        ("category.deleted", "Work", {"name": ["Work", None]}),
        ("task.deleted", "Bread", {"deleted_at": [None, deleted_at]}),
    ]
    assert [entry["seq"] for entry in entries(me)] == list(range(1, 11))


def test_an_entry_has_the_time_of_its_change() -> None:
    me = Api(alice())
    task = good(me.post("tasks/", {"title": "Milk"}))
    changed = good(me.patch(f"tasks/{task['id']}/", {"title": "Bread"}))
    assert [entry["at"] for entry in entries(me)] == [task["created_at"], changed["updated_at"]]


def test_an_entry_shows_who_from_where_and_by_which_request() -> None:
    me = Api(alice())
    response = me.post("tasks/", {"title": "Milk"}, X_Request_ID="r-42", User_Agent="curl/8.5 \x1b[31m")
    (entry,) = entries(me)
    assert entry == {
        "id": entry["id"],
        "seq": 1,
        "at": response.json()["created_at"],
        "actor": {"id": str(me.user.id), "name": "alice"},
        "action": "task.created",
        "target": {"type": "task", "id": response.json()["id"], "label": "Milk"},
        "changes": entry["changes"],
        "ip": "127.0.0.1",
        "user_agent": "curl/8.5 ?[31m",
        "request_id": "r-42",
    }


ORIGIN = {"ip": "127.0.0.1", "user_agent": "curl/8.5", "request_id": "r-1"}
HIDDEN = dict.fromkeys(ORIGIN)


def origins(api: Api, read: Callable[[Api], list[dict[str, Any]]]) -> dict[str | None, dict[str, Any]]:
    """{name of the actor: ip, user agent and request id} of the edits in what this caller reads of the log."""
    edits = [entry for entry in read(api) if entry["action"] in {"task.updated", "task.status_changed"}]
    return {(entry["actor"] or {}).get("name"): {name: entry[name] for name in ORIGIN} for entry in edits}


def exported(api: Api) -> list[dict[str, Any]]:
    response = api.get("export/?format=json")
    return json.loads(contract.content_of(response))["activity"]


WAYS_TO_READ: dict[str, Callable[[Api], list[dict[str, Any]]]] = {
    "page by cursor": entries,
    "page by number": lambda api: entries(api, "page=1&page_size=50"),
    "some fields": lambda api: entries(api, "fields=action,actor,ip,user_agent,request_id"),
    "export": exported,
}


def edited_by_owner_admin_and_system() -> tuple[Api, Api]:
    """An owner and an admin, who have both edited a task that the system has marked as overdue."""
    from duely.core.clock import now
    from duely.tasks.actions import mark_overdue

    me, boss = Api(alice()), Api(adam())
    task = good(me.post("tasks/", {"title": "Milk", "due_date": "2020-01-31T09:00:00Z"}))
    for api in (me, boss):
        headers = {"X_Request_ID": "r-1", "User_Agent": "curl/8.5"}
        good(api.patch(f"tasks/{task['id']}/", {"title": f"Edited by {api.user.username}"}, **headers))
    mark_overdue(now=now())
    return me, boss


@pytest.mark.parametrize("way", WAYS_TO_READ)
def test_the_origin_of_an_entry_is_hidden_from_others(way: str) -> None:
    me, _ = edited_by_owner_admin_and_system()

    assert origins(me, WAYS_TO_READ[way]) == {"alice": ORIGIN, "adam": HIDDEN, None: HIDDEN}


@pytest.mark.parametrize("way", [name for name in WAYS_TO_READ if name != "export"])
def test_admins_see_the_origin_of_every_entry(way: str) -> None:
    _, boss = edited_by_owner_admin_and_system()

    shown = origins(boss, WAYS_TO_READ[way])

    assert shown == {"alice": ORIGIN, "adam": ORIGIN, None: {"ip": None, "user_agent": "", "request_id": ""}}


def test_the_origin_of_a_strangers_attempt_is_hidden_from_the_owner() -> None:
    me, boss = Api(alice()), Api(adam())
    assert Api().post("auth/login/", {"username": "alice", "password": "wrong"}).status_code == 401

    (mine,) = entries(me)
    (theirs,) = entries(boss)

    assert (mine["action"], mine["actor"], mine["ip"]) == ("auth.login_failed", None, None)
    assert theirs["ip"] == "127.0.0.1"


def test_without_an_own_request_id_the_entry_has_ours() -> None:
    me = Api(alice())
    response = me.post("tasks/", {"title": "Milk"}, X_Request_ID="not sane")
    assert entries(me)[0]["request_id"] == response.headers["X-Request-ID"]


def test_an_admins_change_stands_in_the_owners_log_under_the_admins_name() -> None:
    me, boss = Api(alice()), Api(adam())
    task = good(me.post("tasks/", {"title": "Milk"}))
    good(boss.patch(f"tasks/{task['id']}/", {"title": "Bread"}))
    assert [entry["actor"] for entry in entries(me)] == [
        {"id": str(me.user.id), "name": "alice"},
        {"id": str(boss.user.id), "name": "adam"},
    ]


@pytest.mark.parametrize("person", [bob, iris, mallory])
def test_others_see_only_what_is_theirs(person: Any) -> None:
    me, other = Api(alice()), Api(person())
    good(me.post("tasks/", {"title": "secret"}))
    good(other.post("tasks/", {"title": "own"}))
    assert [entry["target"]["label"] for entry in entries(other)] == ["own"]
    for query in (f"actor={me.user.id}", "action=task.created&target=task&seq=1"):
        assert "secret" not in str(entries(other, query))


def test_an_admin_sees_everything() -> None:
    boss = Api(adam())
    for person in (alice, bob):
        good(Api(person()).post("tasks/", {"title": person.__name__}))
    assert {entry["target"]["label"] for entry in entries(boss)} == {"alice", "bob"}


def test_nobody_reads_the_log_without_signing_in() -> None:
    assert Api().get("activity-logs/").status_code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_the_log_cannot_be_written_through_the_api(method: str) -> None:
    boss = Api(adam())
    good(boss.post("tasks/", {"title": "Milk"}))
    (entry,) = entries(boss)
    assert boss.call(method, "activity-logs/", {}).status_code == 405
    assert boss.call(method, f"activity-logs/{entry['id']}/", {}).status_code == 404
    assert entries(boss) == [entry]


def test_the_newest_entries_come_first() -> None:
    me = Api(alice())
    for title in "abc":
        good(me.post("tasks/", {"title": title}))
    assert [entry["target"]["label"] for entry in entries(me, "")] == ["c", "b", "a"]


@pytest.mark.parametrize(
    "peer, forwarded, expected",
    [
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "[2001:DB8::5]:443", "2001:db8::5"),
        ("10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "rubbish", "10.0.0.1"),
        ("", "198.51.100.1", None),
    ],
)
def test_the_address_is_the_clients_as_trusted_proxies_tell_it(
    settings: pytest_django.Settings, peer: str, forwarded: str, expected: str | None
) -> None:
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("10.0.0.0/8")]
    me = Api(alice())
    headers = {**me.headers, "X-Forwarded-For": forwarded, "X-Real-IP": "192.0.2.1", "Forwarded": "for=192.0.2.2"}
    body = '{"title": "Milk"}'
    good(Client(headers=headers).post(f"{V1}tasks/", body, "application/json", REMOTE_ADDR=peer))
    assert entries(me)[0]["ip"] == expected


def test_without_trusted_proxies_the_header_is_ignored() -> None:
    me = Api(alice())
    good(me.post("tasks/", {"title": "Milk"}, X_Forwarded_For="198.51.100.1"))
    assert entries(me)[0]["ip"] == "127.0.0.1"


def history() -> tuple[Api, list[dict[str, Any]]]:
    """An admin, and the log of several people's changes as the admin sees it."""
    boss, me, other = Api(adam()), Api(alice()), Api(bob())
    for api in (me, other, boss):
        category = good(api.post("categories/", {"name": "Home"}))
        task = good(api.post("tasks/", {"title": "Milk", "category": category["id"]}))
        good(api.patch(f"tasks/{task['id']}/", {"completed": True}))
        good(boss.patch(f"tasks/{task['id']}/", {"title": "Bread"}))
        good(api.delete(f"categories/{category['id']}/"))
        good(api.patch("profile/", {"bio": "x"}))
    from duely.activity.actions import Nobody, record
    from duely.core.clock import now

    record(None, "auth.login_failed", Nobody("user"), at=now())
    found = entries(boss, "limit=100&ordering=at")
    assert len(found) == 22
    return boss, found


def filters(
    log: list[dict[str, Any]],
) -> dict[str, st.SearchStrategy[tuple[str, str, Callable[[dict[str, Any]], bool]]]]:
    """For each parameter a strategy of (name, value, what it means)."""

    def listed(name: str, get: Callable[[dict[str, Any]], Any], *, negated: bool = False, more: str = "x.y") -> Any:
        known = sorted({value for value in map(get, log) if value is not None})
        chosen = st.lists(st.sampled_from([*known, more]), min_size=1, max_size=3, unique=True)
        return chosen.map(lambda values: (name, ",".join(values), lambda entry: (get(entry) in values) is not negated))

    def ranged(name: str, get: Callable[[dict[str, Any]], Any], suffix: str, holds: Callable[[Any, Any], bool]) -> Any:
        values = st.sampled_from(sorted({get(entry) for entry in log}))
        return values.map(lambda value: (name + suffix, str(value), lambda entry: holds(get(entry), value)))

    nobody = str(new_id())
    found = {
        "action": listed("action", lambda entry: entry["action"]),
        "action__ne": listed("action__ne", lambda entry: entry["action"], negated=True),
        "target": listed("target", lambda entry: entry["target"]["type"]),
        "target_id": listed("target_id", lambda entry: entry["target"]["id"], more=nobody),
        "actor": listed("actor", lambda entry: (entry["actor"] or {}).get("id"), more=nobody),
        "actor__isnull": st.booleans().map(
            lambda yes: ("actor__isnull", str(yes), lambda entry: (entry["actor"] is None) is yes)
        ),
        "seq": ranged("seq", lambda entry: entry["seq"], "", lambda a, b: a == b),
    }
    for name in ("seq", "at"):
        for suffix, holds in {
            "__gte": lambda a, b: a >= b,
            "__gt": lambda a, b: a > b,
            "__lte": lambda a, b: a <= b,
            "__lt": lambda a, b: a < b,
        }.items():
            found[name + suffix] = ranged(name, lambda entry, name=name: entry[name], suffix, holds)
    found["at"] = ranged("at", lambda entry: entry["at"], "", lambda a, b: a == b)
    return found


def test_filters_and_orderings_do_what_a_model_does() -> None:
    from duely.activity.schemas import ACTIVITY

    boss, log = history()
    strategies = filters(log)
    assert set(strategies) == set(ACTIVITY.conditions)
    assert set(ACTIVITY.orderings) == {"at", "seq"}

    @settings(deadline=None, max_examples=80, phases=[Phase.explicit, Phase.reuse, Phase.generate])
    @given(
        st.lists(st.sampled_from(sorted(strategies)), max_size=3, unique=True),
        st.sampled_from(["at", "-at", "seq", "-seq", "seq,at", "-seq,at"]),
        st.data(),
    )
    def check(names: list[str], ordering: str, data: st.DataObject) -> None:
        chosen = [data.draw(strategies[name]) for name in names]
        expected = [entry for entry in log if all(holds(entry) for _, _, holds in chosen)]
        terms = [*ordering.split(","), "-id" if ordering.startswith("-") else "id"]
        for term in reversed(terms):
            expected.sort(key=lambda entry, key=term.removeprefix("-"): entry[key], reverse=term.startswith("-"))
        query = urlencode({"limit": 100, "ordering": ordering, **{name: value for name, value, _ in chosen}})
        assert entries(boss, query) == expected

    check()


def test_pages_of_the_log_are_walked_by_cursor() -> None:
    boss, log = history()
    seen: list[dict[str, Any]] = []
    cursor = ""
    while cursor is not None:
        page = good(boss.get(f"activity-logs/?limit=5&ordering=at{cursor and '&cursor=' + cursor}"))
        seen += page["data"]
        cursor = page["pagination"]["next_cursor"]
    assert seen == log


@pytest.mark.parametrize(
    "query, code",
    [
        ("action=", "invalid_format"),
        ("target_id=1", "invalid_id"),
        ("actor=alice", "invalid_id"),
        ("seq=-1", "invalid_type"),
        ("seq__gt=9223372036854775808", "invalid_type"),
        ("at__gte=yesterday", "invalid_date"),
        ("actor__isnull=maybe", "invalid_choice"),
        ("owner=x", "unknown_parameter"),
        ("ip=127.0.0.1", "unknown_parameter"),
        ("ordering=action", "invalid_choice"),
    ],
)
def test_other_queries_are_refused(query: str, code: str) -> None:
    response = Api(adam()).get(f"activity-logs/?{query}")
    assert response.status_code == 400
    assert list(faults(response).values()) == [code]


def test_the_log_outlives_what_it_tells_of() -> None:
    me = Api(alice())
    category = good(me.post("categories/", {"name": "Home"}))
    good(me.delete(f"categories/{category['id']}/"))
    assert [entry["action"] for entry in entries(me, f"target_id={category['id']}&ordering=seq")] == [
        "category.created",
        "category.deleted",
    ]


def test_a_refused_change_is_not_logged() -> None:
    me, other = Api(alice()), Api(bob())
    task = good(me.post("tasks/", {"title": "Milk"}))
    assert me.patch(f"tasks/{task['id']}/", {"status": "overdue"}).status_code == 400
    assert me.patch(f"tasks/{task['id']}/", {"title": "Bread", "category": str(new_id())}).status_code == 400
    assert other.delete(f"tasks/{task['id']}/").status_code == 404
    assert me.post("tasks/", {"title": "x", "owner": str(other.user.id)}).status_code == 403
    assert [entry["action"] for entry in entries(me)] == ["task.created"]
    assert entries(other) == []
