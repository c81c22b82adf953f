"""Every operation, by every caller, with own and foreign ids, against the one table in `permissions_table.py`."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, get_args
from uuid import UUID

import msgspec
import pytest
from django.db import connection
from django.test import Client
from django.urls import get_resolver
from pytest_django import DjangoDbBlocker

import contract
import permissions_table
from cast import PASSWORD, bearer, for_a_module, new_code, new_token, person, refresh_token_of, session_of, undone
from permissions_table import CALLERS, REVEALING, Line

PREFIX = "/api/v1/"
SIGNED_IN = ("stranger", "intern", "owner", "admin")
WITH_CREDENTIALS = {
    *("auth/login/", "auth/token/refresh/", "auth/logout/", "auth/verify-otp/"),
    *("auth/verify-email/", "auth/verify-reset-otp/", "auth/reset-password/"),
}
"""What these send is Alice's own secret: whoever knows it may."""
NOTHING = "0198c3a0-0000-7000-8000-000000000000"
REQUEST_ID = "the-same-for-both"

BODIES: dict[str, Any] = {
    "POST auth/signup/": {"username": "newcomer", "email": "newcomer@example.org", "password": PASSWORD},
    "POST auth/login/": {"username": "alice", "password": PASSWORD},
    "POST auth/request-otp/": {"email": "newcomer@example.org"},
    "POST auth/forgot-password/": {"email": "newcomer@example.org"},
    "POST auth/change-email/": {"email": "newcomer@example.org", "current_password": PASSWORD},
    "POST auth/change-password/": {"current_password": PASSWORD, "new_password": "another-long-sentence-of-mine"},
    "PUT profile/": {"display_name": "Someone"},
    "PATCH profile/": {"display_name": "Someone"},
    "PATCH users/<id:user_id>/": {"role": "intern"},
    "POST tasks/": {"title": "New"},
    "PUT tasks/<id:task_id>/": {"title": "New"},
    "PATCH tasks/<id:task_id>/": {"title": "New"},
    "POST categories/": {"name": "New"},
    "PUT categories/<id:category_id>/": {"name": "New"},
    "PATCH categories/<id:category_id>/": {"name": "New"},
    "POST import/": {"format": "duely", "version": 1, "tasks": [{"id": NOTHING, "title": "New"}]},
    "POST tasks/quick/": {"text": "Milk tomorrow #home @shop !high"},
    "POST tasks/bulk/": {"operations": [{"op": "create", "title": "New"}], "atomic": True},
    "POST bans/": {"network": "203.0.113.0/24", "reason": "Spam"},
    "PATCH bans/<id:ban_id>/": {"reason": "Spam"},
}


QUERIES = dict.fromkeys(["DELETE tasks/", "DELETE tasks/trash/"], "?confirm=true")


@dataclass
class World:
    """The people of the table, and what is theirs: {who: {what: id}}."""

    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    things: dict[str, dict[str, str]] = field(default_factory=dict)
    people: dict[str, Any] = field(default_factory=dict)
    refresh_token: str = ""
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)

    def id_of(self, what: str, whose: str, caller: str) -> str:
        """The id that `own`, `alice` or `none` stands for. Who has nothing names Alice's."""
        if whose == "none":
            return NOTHING
        owner = caller if whose == "own" and caller in SIGNED_IN else "owner"
        return self.things[owner][what]


@pytest.fixture(scope="module")
def made_once(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    with for_a_module(django_db_blocker):
        yield made_world()


@pytest.fixture
def world(made_once: World) -> Iterator[World]:
    """Everyone and what is theirs. What a test does with it is undone."""
    with undone():
        yield made_once


def made_world() -> World:
    from duely.accounts import actions, tokens
    from duely.core.clock import now

    made = World()
    names = {"owner": "alice", "stranger": "mallory", "intern": "iris", "admin": "adam", "gone": "dora"}
    for caller, name in names.items():
        made.people[caller] = user = person(name, role={"intern": "intern", "admin": "admin"}.get(caller, "member"))
        made.headers[caller] = bearer(user)
        made.things[caller] = _belongings(user)
    person("another-admin", role="admin")  # so that the admin is not the last one
    dora = made.people["gone"]
    actions.change_user(actor=None, user_id=dora.id, is_active=False, now=now())
    ended = session_of(made.people["owner"])
    made.headers["ended"] = {"Authorization": f"Bearer {tokens.mint_access(made.people['owner'].id, ended.id, now())}"}
    actions.end_session(actor=_actor(made.people["owner"]), session=ended, now=now())
    forged = made.headers["owner"]["Authorization"].rpartition(".")[0]
    made.headers["bad"] = {"Authorization": f"{forged}.{'A' * 43}"}
    made.headers["nobody"] = {}
    made.refresh_token = refresh_token_of(session_of(made.people["owner"]))
    made.secrets = _secrets_of(made.people["owner"])
    _things_of_the_clock(made.people["owner"])
    return made


def _secrets_of(user: Any) -> dict[str, dict[str, str]]:
    """Bodies with a code or a token that this user was sent, by route."""
    return {
        "auth/verify-otp/": {"email": user.email, "code": new_code(user.email)},
        "auth/verify-email/": {"token": new_token(user, "verify_email")},
        "auth/verify-reset-otp/": {"email": user.email, "code": new_code(user.email, "reset")},
        "auth/reset-password/": {
            "reset_token": new_token(user, "reset_token"),
            "new_password": "another-long-sentence-of-mine",
        },
    }


def _things_of_the_clock(user: Any) -> None:
    """A schedule, a notice and the job that will send it, for the admin's pages to show."""
    from duely.core.clock import now
    from duely.jobs.queue import tick
    from duely.notifications import jobs
    from duely.notifications.actions import queue_digests
    from duely.notifications.models import Digest

    tick()
    Digest.objects.create(user_id=user.id, next_at=now())
    type(user).objects.filter(pk=user.pk).update(digest_hour=7)
    queue_digests(deliver=jobs.deliver, now=now())


def _actor(user: Any) -> Any:
    from duely.core.actor import Actor, Origin

    return Actor(id=user.id, name=user.username, role=user.role, session_id=None, zone="UTC", origin=Origin())


def _belongings(user: Any) -> dict[str, str]:
    """A category with a task in it, a session, and the log of their making."""
    from duely.core.clock import now
    from duely.tasks import actions

    actor = _actor(user)
    category = actions.create_category(actor=actor, fields={"name": "Home"}, now=now())
    task = actions.create_task(actor=actor, fields={"title": "Milk", "category": category.id}, now=now())
    trashed = actions.create_task(actor=actor, fields={"title": "Gone"}, now=now())
    actions.delete_task(actor=actor, task_id=trashed.id, now=now())
    return {
        "task": str(task.id),
        "trash": str(trashed.id),
        "category": str(category.id),
        "session": str(session_of(user).id),
        "user": str(user.id),
        "ban": str(_ban()),
    }


def _ban() -> Any:
    """A ban, which is nobody's."""
    from duely.core.clock import now
    from duely.core.ids import new_id
    from duely.guard.models import Ban

    return Ban.objects.create(id=new_id(), network="198.51.100.7/32", created_at=now(), automatic=False).id


WHAT = {
    "path tasks": "task",
    "path categories": "category",
    "path users": "user",
    "path auth": "session",
    "path bans": "ban",
    "query target_id": "task",
    "query actor": "user",
    "query owner": "user",
    "query category": "category",
    "body owner": "user",
    "body category": "category",
}


def _what(line: Line, place: str, name: str) -> str:
    """What kind of thing an id in this place names."""
    top = line.route.partition("/")[0]
    if place == "path":
        return "trash" if line.route.endswith("/restore/") else WHAT[f"path {top}"]
    if place == "body" and name.rpartition(".")[2] == "id":
        return {"tasks": "task", "categories": "category"}[top]
    name = name.rpartition(".")[2]
    return WHAT[f"{place} {name.partition('__')[0]}"]


def request_of(line: Line, caller: str, world: World) -> tuple[str, str, bytes]:
    """(method, path, body) of a line as this caller sends it."""
    body = dict(BODIES.get(f"{line.method} {line.route}", {}))
    if line.route in {"auth/token/refresh/", "auth/logout/"}:
        body = {"refresh": world.refresh_token}
    body |= world.secrets.get(line.route, {})
    path = line.route if line.route.startswith("/") else PREFIX + line.route
    query = QUERIES.get(f"{line.method} {line.route}", "")
    for place, name, whose in line.ids:
        value = world.id_of(_what(line, place, name), whose, caller)
        if place == "path":
            path = re.sub(r"<[^>]+>", value, path)
        elif place == "query":
            query += f"{'&' if query else '?'}{name}={value}"
        elif "." in name:
            op, _, key = name.partition(".")
            if body["operations"][-1]["op"] != op:
                body["operations"] = [*body["operations"], {"op": op}]
            body["operations"] = [*body["operations"][:-1], {**body["operations"][-1], key: value}]
        else:
            body[name] = value
    return line.method, path + query, json.dumps(body).encode() if line.method in {"POST", "PUT", "PATCH"} else b""


@cache
def _handler() -> Any:
    """One for all clients: each of its own would read the static files' folders anew."""
    return Client().handler


def client() -> Client:
    made = Client()
    made.handler = _handler()
    return made


def send(method: str, path: str, body: bytes, headers: dict[str, str]) -> Any:
    return client().generic(
        method, path, body, content_type="application/json", headers={**headers, "X-Request-ID": REQUEST_ID}
    )


@pytest.fixture(autouse=True)
def _in_line_with_the_document() -> Iterator[None]:
    with contract.watch():
        yield


# What the database holds


@cache
def tables() -> list[str]:
    from django.apps import apps

    labels = ("accounts", "tasks", "activity", "guard")
    return sorted(model._meta.db_table for label in labels for model in apps.get_app_config(label).get_models())


def rows(of: Any = None) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table with all its columns; with `of`, those that belong to this user."""
    kept = {}
    mine = {
        "accounts_user": "id = %s",
        "accounts_session": "user_id = %s",
        "accounts_known_address": "user_id = %s",
        "accounts_code": "user_id = %s",
        "accounts_signup": "id = %s",
        "tasks_words": "task_id IN (SELECT id FROM tasks_task WHERE owner_id = %s)",
        "tasks_stale_words": "task_id IN (SELECT id FROM tasks_task WHERE owner_id = %s)",
        "accounts_refresh_token": "session_id IN (SELECT id FROM accounts_session WHERE user_id = %s)",
    }
    with connection.cursor() as cursor:
        for table in tables():
            where, values = "", []
            if of is not None and table.startswith("guard_"):
                continue
            if of is not None:
                where = f" WHERE {mine.get(table, 'owner_id = %s')}"
                values = [of.hex if connection.vendor == "sqlite" else of]
            cursor.execute(f"SELECT * FROM {table}{where} ORDER BY 1", values)
            kept[table] = cursor.fetchall()
    return kept


# The table against the routes


def routes() -> Iterator[tuple[str, Any]]:
    """Every pattern of the product: (path, view)."""

    def walk(patterns: list[Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for pattern in patterns:
            path = prefix + str(pattern.pattern)
            if hasattr(pattern, "url_patterns"):
                yield from walk(pattern.url_patterns, path)
            else:
                yield path, pattern.callback

    return walk(get_resolver().url_patterns, "")


def is_admin(path: str) -> bool:
    return path.startswith("admin/")


def test_the_table_has_every_operation_and_no_other() -> None:
    from duely.config.urls import ALIASES, ROUTES

    real = {f"{method} {route}" for route, resource in ROUTES for method in resource.api_endpoints}
    aliases = {f"api/v1/{alias}" for alias, _ in ALIASES}
    canonical = {f"api/v1/{route}" for route, _ in ROUTES}
    other = {path for path, _ in routes() if not is_admin(path)} - aliases - canonical
    real |= {f"GET /{path}" for path in other}
    assert {f"{line.method} {line.route}" for line in permissions_table.lines()} == real


def test_every_path_of_the_api_is_a_route_or_an_alias() -> None:
    """Nobody adds a view beside ROUTES, where neither this table nor the document would see it."""
    from duely.config.urls import ALIASES, ROUTES

    known = {route for route, _ in ROUTES} | {alias for alias, _ in ALIASES} | {"", "schema/", "docs/"}
    assert {path.removeprefix("api/v1/") for path, _ in routes() if path.startswith("api/")} == known


def test_the_table_has_every_page_of_the_admin_and_no_other() -> None:
    def plain(path: str) -> str:
        return re.sub(r"\(\?P<(\w+)>[^)]*\)", r"<\1>", path).replace("^", "").replace("$", "")

    real = {plain(path) for path, _ in routes() if is_admin(path)}
    assert {route for _, route, _ in permissions_table.admin_lines()} == real


def _ids_of(model: Any) -> Iterator[str]:
    """The fields of a body that hold ids; those of one of many operations with its name before them."""
    from duely.tasks.bulk.schemas import OPERATIONS, Operations

    for item in msgspec.structs.fields(model):
        if item.type is Operations:
            yield from (f"{op}.{name}" for op, kind in OPERATIONS.items() for name in _ids_of(kind))
        elif _holds_uuid(item.type):
            yield item.encode_name


def _holds_uuid(kind: Any) -> bool:
    return kind is UUID or any(_holds_uuid(part) for part in get_args(kind))


def places_of_ids() -> set[tuple[str, str, str, str]]:
    """(method, route, place, name) of every id that an operation takes: found in routes, bodies and lists."""
    from duely.api.components import Listed
    from duely.api.filters import UUID_TEXT
    from duely.config.urls import ROUTES

    found = set()
    for route, resource in ROUTES:
        for method, endpoint in resource.api_endpoints.items():
            if "<" in route:
                found.add((method, route, "path", "id"))
            for spec in endpoint.metadata.component_parsers:
                if isinstance(spec.parser, Listed):
                    for declared in spec.parser.listing.filters:
                        names = [name for name, _, _ in declared.parameters()]
                        if declared.schema == UUID_TEXT:
                            found |= {(method, route, "query", name) for name in names if "isnull" not in name}
                elif spec.parser.context_name == "parsed_body":
                    found |= {(method, route, "body", name) for name in _ids_of(spec.model)}
    return found


def test_the_table_tries_every_id_that_an_operation_takes() -> None:
    """As the caller's own where that makes sense, as a foreign one, and as the id of nothing."""
    tried: dict[tuple[str, str, str, str], set[str]] = {}
    for line in permissions_table.lines():
        for place, name, whose in line.ids:
            tried.setdefault((line.method, line.route, place, name), set()).add(whose)
    places = places_of_ids()
    assert len(places) > 20
    assert tried.keys() == places
    assert not [place for place, whose in tried.items() if not {"alice", "none"} <= whose]


# The product against the table


@pytest.mark.slow
@pytest.mark.parametrize("line", permissions_table.lines(), ids=str)
def test_each_caller_gets_what_the_table_says(line: Line, world: World) -> None:
    wrong = []
    alice = world.people["owner"].id
    before, hers = rows(), rows(alice)
    for caller in CALLERS:
        with undone():
            method, path, body = request_of(line, caller, world)
            response = send(method, path, body, world.headers[caller])
            after, hers_after = rows(), rows(alice) if caller in {"stranger", "intern"} else hers
        if response.status_code != line.expected[caller]:
            wrong.append(
                f"{caller}: {response.status_code}, not {line.expected[caller]}: {contract.content_of(response)[:200]!r}"
            )
        if response.status_code >= 400 and after != before:
            wrong.append(
                f"{caller}: refused, and changed {[table for table in after if after[table] != before[table]]}"
            )
        if hers_after != hers and line.route not in WITH_CREDENTIALS:
            wrong.append(f"{caller}: changed what is Alice's")
        wrong += [f"{caller}: {fault}" for fault in _faults_of_a_foreign_id(line, caller, world, response)]
        wrong += [f"{caller}: {fault}" for fault in _faults_of_head(line, caller, world, response)]
    assert not wrong, "\n".join(wrong)


def _faults_of_a_foreign_id(line: Line, caller: str, world: World, response: Any) -> Iterator[str]:
    """Alice's id and the id of nothing get the same bytes, so that nobody learns what exists."""
    foreign = [(place, name, whose) for place, name, whose in line.ids if whose == "alice"]
    if caller not in {"stranger", "intern"} or not foreign:
        return
    if any((line.method, line.route, f"{place} {name}") in REVEALING for place, name, _ in foreign):
        return
    nothing = Line(line.method, line.route, tuple((p, n, "none" if w == "alice" else w) for p, n, w in line.ids), {})
    with undone():
        twin = send(*request_of(nothing, caller, world), world.headers[caller])
    if told(response, world) != told(twin, world):
        yield f"a foreign id answers {told(response, world)}, the id of nothing {told(twin, world)}"


def told(response: Any, world: World) -> tuple[Any, ...]:
    """All that an answer tells, with every id in its path and body as one word."""
    content = contract.content_of(response).decode()
    for identifier in (NOTHING, *world.things["owner"].values()):
        content = content.replace(identifier, "ID")
    # The tag of a list follows from the query, in which the ids differ.
    headers = sorted((name, value) for name, value in response.headers.items() if name != "ETag")
    return response.status_code, headers, content


def _faults_of_head(line: Line, caller: str, world: World, response: Any) -> Iterator[str]:
    if line.method != "GET":
        return
    _, path, body = request_of(line, caller, world)
    head = send("HEAD", path, body, world.headers[caller])
    if head.status_code != response.status_code:
        yield f"HEAD answers {head.status_code}, GET {response.status_code}"
    if contract.content_of(head):
        yield "HEAD has a body"
    if line.route != "/" and {**head.headers} != {**response.headers, "Content-Length": head.headers["Content-Length"]}:
        yield f"HEAD has other headers: {dict(head.headers)}"


@pytest.mark.parametrize("caller", ["owner", "admin"])
@pytest.mark.parametrize(
    "query", ["tasks/?category", "tasks/?owner", "activity-logs/?target_id", "activity-logs/?actor"]
)
def test_filters_by_an_id_find_what_is_there(query: str, caller: str, world: World) -> None:
    """Else the lines above would hold for filters that find nothing at all."""
    name = query.partition("?")[2]
    value = world.things["owner"][WHAT[f"query {name}"]]
    answer = send("GET", f"{PREFIX}{query}={value}", b"", world.headers[caller]).json()
    assert answer["data"]


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND")


@pytest.mark.parametrize("caller", CALLERS)
def test_methods_that_a_route_lacks_are_refused_to_everyone(caller: str, world: World) -> None:
    from duely.config.urls import ALIASES, ROUTES

    views = dict(ROUTES)
    wrong = []
    before = rows()
    for route, resource in [*ROUTES, *((alias, views[canonical]) for alias, canonical in ALIASES)]:
        has = {*resource.api_endpoints} | ({"HEAD"} if "GET" in resource.api_endpoints else set())
        path = PREFIX + re.sub(r"<[^>]+>", NOTHING, route)
        for method in METHODS:
            if method not in has:
                response = send(method, path, b"", world.headers[caller])
                if response.status_code != 405 or _allowed(response) != has | {"OPTIONS"}:
                    wrong.append(f"{method} {path}: {response.status_code} {response.headers.get('Allow')}")
        response = send("OPTIONS", path, b"", world.headers[caller])
        if response.status_code != 204 or _allowed(response) != has | {"OPTIONS"} or contract.content_of(response):
            wrong.append(f"OPTIONS {path}: {response.status_code} {response.headers.get('Allow')}")
    assert not wrong
    assert rows() == before


def _allowed(response: Any) -> set[str]:
    return {name.strip() for name in response.headers.get("Allow", "").split(",")}


@pytest.mark.parametrize("path", ["/api/v1/", "/api/v1/schema/", "/api/v1/docs/", "/", "/healthz", "/readyz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE"])
def test_pages_and_documents_are_only_read(path: str, method: str, world: World) -> None:
    response = send(method, path, b"{}", world.headers["admin"])
    assert response.status_code == 405
    assert {"GET", "HEAD"} <= _allowed(response)


# Other ways to the same operations


def spellings(path: str) -> Iterator[str]:
    """The other forms of a path under /api/v1/: without the slash at the end, without the version, aliases."""
    from duely.config.urls import ALIASES

    ways = [path, *(path.replace(PREFIX + canonical, PREFIX + alias) for alias, canonical in ALIASES)]
    for way in dict.fromkeys(ways):
        bare, query_mark, query = way.partition("?")
        for form in (bare, bare.rstrip("/"), bare.replace("/api/v1/", "/api/"), bare.replace("/v1", "").rstrip("/")):
            if form + query_mark + query != path:
                yield form + query_mark + query


def one_line_per_operation() -> list[Line]:
    lines = [line for line in permissions_table.lines() if line.route[0] != "/"]
    return list({(line.method, line.route): line for line in reversed(lines)}.values())


@pytest.mark.slow
@pytest.mark.parametrize("line", one_line_per_operation(), ids=str)
def test_other_spellings_of_a_path_answer_alike(line: Line, world: World) -> None:
    method, path, body = request_of(line, "owner", world)
    bodies = [body, b"{", b'{"nonsense": 1}'] if method in {"POST", "PUT", "PATCH"} else [b""]
    for caller in ("nobody", "owner"):
        for content in bodies:
            answers = {}
            for form in (path, *spellings(path)):
                with undone():
                    answers[form] = _shape(send(method, form, content, world.headers[caller]))
            assert len(set(answers.values())) == 1, answers


def _shape(response: Any) -> str:
    """An answer without what differs from one time to the next: ids, instants, tokens, the path itself."""
    content = contract.content_of(response).decode()
    content = re.sub(r'"instance":"[^"]*"', '"instance":""', content)
    content = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", content)
    content = re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "AT", content)
    content = re.sub(r'"(access|refresh|reset_token|next_cursor)":"[^"]*"', r'"\1":""', content)
    names = sorted(response.headers)
    return f"{response.status_code} {response.headers.get('Content-Type')} {names} {content}"


# Roles that may do nothing, or only look


NEEDS_NO_PERMISSION = {
    "signUp": "it makes the account",
    "logIn": "it shows who asks",
    "requestCode": "it shows who asks",
    "logInWithCode": "it shows who asks",
    "verifyEmail": "the token of the link is the right to it",
    "forgotPassword": "it shows who asks",
    "verifyResetCode": "the code is the right to it",
    "resetPassword": "the reset token is the right to it",
    "refreshToken": "the refresh token is the right to it",
    "logOut": "the refresh token is the right to it",
    "logOutEverywhere": "it takes access to one's own account away, and gives none",
    "listSessions": "everyone must be able to see who uses their account",
}
"""Operations that no role can be denied, each with the reason. All others ask the table of permissions."""
LOOKING = {"TASK_VIEW", "CATEGORY_VIEW", "LOG_VIEW", "USER_VIEW"}
CHANGES_OWN_ACCOUNT = {"resendVerification", "changeEmail", "changePassword"}
"""What needs no more than to see one's own account: the password or the mailbox proves that it is one's own."""


def operations() -> dict[str, str]:
    """{operation id: "METHOD route"} of every operation of the API."""
    from duely.config.urls import ROUTES

    return {
        endpoint.metadata.operation_id: f"{method} {route}"
        for route, resource in ROUTES
        for method, endpoint in resource.api_endpoints.items()
    }


def own_request(name: str, world: World) -> tuple[str, str, bytes]:
    """(method, path, body) of this operation as the intern sends it, about what is the intern's own."""
    wanted = operations()[name]
    fitting = (
        line
        for line in permissions_table.lines()
        if f"{line.method} {line.route}" == wanted and all(whose == "own" for _, _, whose in line.ids)
    )
    return request_of(next(fitting), "intern", world)


def answer_to_intern(name: str, world: World) -> int:
    """The status that the intern gets for this operation. Whatever it does is undone."""
    with undone():
        method, path, body = own_request(name, world)
        status: int = send(method, path, body, world.headers["intern"]).status_code
        return status


def test_operations_without_permission_are_named_with_their_reasons() -> None:
    assert NEEDS_NO_PERMISSION.keys() | CHANGES_OWN_ACCOUNT < operations().keys()
    assert all(NEEDS_NO_PERMISSION.values())


@pytest.mark.parametrize("name", operations())
def test_a_role_without_permissions_is_refused_everything(
    name: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from duely.core.permissions import ALLOWED

    usual = answer_to_intern(name, world)
    monkeypatch.setitem(ALLOWED, "intern", frozenset())

    status = answer_to_intern(name, world)

    if name in NEEDS_NO_PERMISSION:
        assert status == usual < 400
    else:
        assert status in ({403, 404} if "<" in operations()[name] else {403})


@pytest.mark.parametrize("name", operations())
def test_a_role_that_may_only_look_changes_nothing(name: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from duely.core.permissions import ALLOWED, Permission

    usual = answer_to_intern(name, world)
    monkeypatch.setitem(ALLOWED, "intern", frozenset(Permission[permission] for permission in LOOKING))

    status = answer_to_intern(name, world)

    is_unchanged = operations()[name].startswith("GET") or name in NEEDS_NO_PERMISSION or name in CHANGES_OWN_ACCOUNT
    assert status == (usual if is_unchanged or usual == 404 else 403)


# Lists and objects


@pytest.mark.parametrize("caller", SIGNED_IN)
@pytest.mark.parametrize("what, route", [("task", "tasks/"), ("category", "categories/")])
def test_what_a_list_shows_is_what_can_be_read_one_by_one(what: str, route: str, caller: str, world: World) -> None:
    headers = world.headers[caller]
    listed = {item["id"] for item in send("GET", f"{PREFIX}{route}?limit=100", b"", headers).json()["data"]}
    every = {things[what] for things in world.things.values()}
    readable = {item for item in every if send("GET", f"{PREFIX}{route}{item}/", b"", headers).status_code == 200}
    assert listed == readable
    assert listed == (every if caller == "admin" else {world.things[caller][what]})


# Django's admin


@pytest.mark.parametrize("method, route, expected", permissions_table.admin_lines(), ids=str)
def test_the_admin_lets_in_admins_only(method: str, route: str, expected: dict[str, int], world: World) -> None:
    from django.apps import apps

    things = dict(zip(("label", "model"), route.split("/")[1:3], strict=False))
    identifier = NOTHING
    if "object_id" in route and things["label"] != "r":
        model = apps.get_model(things["label"], things["model"])
        identifier = str(model._default_manager.order_by("pk").values_list("pk", flat=True)[0])
    path = "/" + re.sub(r"<app_label>", "tasks", re.sub(r"<path:object_id>", identifier, route))
    path = path.replace("<path:content_type_id>", "1").replace("<url>", "nothing/here")
    wrong = []
    before = rows()
    for who, user in [("nobody", None), ("member", world.people["owner"]), ("admin", world.people["admin"])]:
        browser = client()
        if user is not None:
            browser.force_login(user)
        # A token of the API opens nothing here, not even an admin's.
        headers = world.headers["admin"] if who != "admin" else {}
        response = browser.generic(method, path, b"", headers=headers)
        if response.status_code != expected[who]:
            wrong.append(f"{who}: {response.status_code}, not {expected[who]}")
        if (
            expected[who] == 302
            and who != "admin"
            and route != "admin/logout/"
            and "/admin/login/" not in response.headers.get("Location", "")
        ):
            wrong.append(f"{who}: sent to {response.headers.get('Location')}")
    assert not wrong
    assert rows() == before
