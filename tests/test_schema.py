"""The OpenAPI document is valid, complete and true: schemathesis tries every operation against it.

`DUELY_TEST_EXAMPLES` multiplies the number of examples.
"""

import io
import json
import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import pytest
import schemathesis
import yaml
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.db.models import F
from django.test import Client
from django.urls import get_resolver
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis.strategies import one_of
from openapi_spec_validator import OpenAPIV31SpecValidator
from pytest_django import DjangoDbBlocker, Settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

import contract
from cast import PASSWORD, bearer, for_a_module, new_code, new_token, person, refresh_token_of, session_of, undone
from contract import Operation, document, operations
from duely.core.errors import catalogue
from duely.core.quotas import KEPT_ANSWER_BYTES
from duely.http.entry import with_length
from quotas import keep_answers

MEMBER = "member"
ADMIN = "admin"
NOBODY = "nobody"
NOTHING = "0198c3a0-0000-7000-8000-000000000000"
FACTOR = int(os.environ.get("DUELY_TEST_EXAMPLES", "1"))
EXAMPLES = 10 * FACTOR
ALL_OF = 120 * FACTOR
ONE_OF = 5
ADMINS_ONLY = {"listUsers", "updateUser", "listBans", "createBan", "getBan", "updateBan", "liftBan"}
PUBLIC = {
    *("signUp", "logIn", "refreshToken", "logOut", "requestCode", "logInWithCode", "verifyEmail"),
    *("forgotPassword", "verifyResetCode", "resetPassword"),
}
MAY_SEND_A_TOKEN = {"verifyEmail"}


def keeping_connections(served: Callable[..., Any]) -> Callable[..., Any]:
    """The application without what ends a request in production: it would close the connection of the test."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        for signal in (request_started, request_finished):
            signal.disconnect(close_old_connections)
        try:
            response = served(environ, start_response)
            try:
                return list(response)
            finally:
                response.close()
        finally:
            for signal in (request_started, request_finished):
                signal.connect(close_old_connections)

    return wrapped


application = keeping_connections(with_length(get_wsgi_application()))


@schemathesis.serializer("application/zip")
def as_it_is(_: Any, value: Any) -> bytes:
    """A file is bytes already, or whatever else is to be sent for one."""
    data = getattr(value, "data", value)
    return data if isinstance(data, bytes) else json.dumps(data).encode()


@cache
def schema() -> Any:
    loaded = schemathesis.openapi.from_dict(document())
    loaded.app = application
    loaded.config.generation.update(with_security_parameters=False)
    return loaded


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
    allow_header_conformance,
]


# What is there to work with


@dataclass
class World:
    """Alice, an admin, what is theirs, and what an operation answered."""

    headers: dict[str, dict[str, str]]
    ids: dict[str, dict[str, str]]
    bodies: dict[str, dict[str, Any]]
    special: dict[str, dict[str, str]]
    """Operation → ids that it needs instead."""
    seen: Counter[int] = field(default_factory=Counter)
    calls: int = 0


@pytest.fixture(scope="module")
def made_once(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    with for_a_module(django_db_blocker):
        yield made_world()


@pytest.fixture
def world(made_once: World) -> Iterator[World]:
    """What is done with it is undone. Codes and tokens are new for each test: they expire within minutes."""
    with undone():
        yield replace(made_once, **new_secrets(made_once), seen=Counter(), calls=0)


def new_secrets(world: World) -> dict[str, Any]:
    """The fields of a world that hold access tokens, codes and tokens of links."""
    from duely.accounts.models import User

    alice, adam = User.objects.get(username="alice"), User.objects.get(username="adam")
    bodies = {
        "logInWithCode": {"email": alice.email, "code": new_code(alice.email)},
        "verifyEmail": {"token": new_token(alice, "verify_email")},
        "verifyResetCode": {"email": alice.email, "code": new_code(alice.email, "reset")},
        "resetPassword": {
            "reset_token": new_token(alice, "reset_token"),
            "new_password": "another-long-sentence-of-mine",
        },
    }
    return {
        "headers": {MEMBER: bearer(alice), ADMIN: bearer(adam), NOBODY: {}},
        "bodies": {**world.bodies, **bodies},
    }


def made_world() -> World:
    from duely.core.actor import Actor, Origin
    from duely.core.clock import now
    from duely.core.ids import new_id
    from duely.guard.models import Ban
    from duely.tasks import actions

    alice, adam = person("alice"), person("adam", role="admin")
    person("another-admin", role="admin")
    session = session_of(alice)
    actor = Actor(id=alice.id, name="alice", role="member", session_id=session.id, zone="UTC", origin=Origin())
    category = actions.create_category(actor=actor, fields={"name": "Home"}, now=now())
    actions.create_category(actor=actor, fields={"name": "Garden"}, now=now())
    task = actions.create_task(actor=actor, fields={"title": "Milk", "category": category.id}, now=now())
    for number in range(3):
        actions.create_task(actor=actor, fields={"title": f"Task {number}"}, now=now())
    trashed = actions.create_task(actor=actor, fields={"title": "Gone"}, now=now())
    actions.delete_task(actor=actor, task_id=trashed.id, now=now())
    refresh = refresh_token_of(session)
    ban = Ban.objects.create(id=new_id(), network="198.51.100.7/32", created_at=now(), automatic=False)
    return World(
        headers={},
        ids={
            caller: {
                "task_id": str(task.id),
                "category_id": str(category.id),
                "user_id": str(alice.id),
                "session_id": str(session_of(user).id),
                "ban_id": str(ban.id),
            }
            for caller, user in ((MEMBER, alice), (ADMIN, adam), (NOBODY, alice))
        },
        bodies={
            "signUp": {"username": "newcomer", "email": "newcomer@example.org", "password": PASSWORD},
            "logIn": {"username": "alice", "password": PASSWORD},
            "refreshToken": {"refresh": refresh},
            "logOut": {"refresh": refresh},
            "requestCode": {"email": "newcomer@example.org"},
            "changeEmail": {"email": "newcomer@example.org", "current_password": PASSWORD},
            "forgotPassword": {"email": alice.email},
            "changePassword": {"current_password": PASSWORD, "new_password": "another-long-sentence-of-mine"},
            "updateUser": {"role": "intern"},
            "replaceProfile": {"display_name": "Someone", "time_zone": "Europe/Berlin"},
            "updateProfile": {"digest_hour": 7},
            "createTask": {"title": "Bread"},
            "replaceTask": {"title": "Bread", "category": str(category.id)},
            "updateTask": {"title": "Bread", "category": str(category.id)},
            "createCategory": {"name": "Work"},
            "replaceCategory": {"name": "Work"},
            "updateCategory": {"name": "Work"},
            "createBan": {"network": "203.0.113.0/24", "until": "2099-01-31T09:00:00Z"},
            "updateBan": {"reason": "Spam"},
            "importFile": {"format": "duely", "version": 1, "tasks": [{"id": NOTHING, "title": "Bread"}]},
            "createQuickTask": {"text": "Milk tomorrow 9am #home @shop !high"},
            "changeTasks": {"operations": [{"op": "create", "title": "Bread"}, {"op": "delete", "id": NOTHING}]},
        },
        special={"restoreTask": {"task_id": str(trashed.id)}},
    )


# Schemathesis


@dataclass
class Answer:
    """An answer of the WSGI application, as `contract.check` takes it."""

    status_code: int
    headers: dict[str, str]
    content: bytes


def attempt(case: Any, caller: str, world: World) -> None:
    """Send one generated request, every other one to what exists, and hold the answer against the document."""
    world.calls += 1
    name = case.operation.definition.raw["operationId"]
    is_positive = case.meta is None or case.meta.generation.mode.is_positive
    if is_positive and world.calls % 2:
        for key in case.path_parameters or {}:
            case.path_parameters[key] = {**world.ids[caller], **world.special.get(name, {})}[key]
        if world.calls % 4 == 1 and name in world.bodies:
            case.body = dict(world.bodies[name])
            case.media_type = "application/json"
    with undone():
        response = case.call(headers=world.headers[caller])
    if case.method.upper() == case.operation.method.upper():
        world.seen[response.status_code] += 1
    case.validate_response(response, checks=CHECKS)
    headers = {key: ", ".join(values) for key, values in response.headers.items()}
    path = response.request.path_url.partition("?")[0]
    contract.check(case.method.upper(), path, Answer(response.status_code, headers, response.content))


RUNS = [
    *((operation, ADMIN if operation.name in ADMINS_ONLY else MEMBER) for operation in operations()),
    *((operation, MEMBER if operation.name in ADMINS_ONLY else ADMIN) for operation in operations()),
    *((operation, NOBODY) for operation in operations()),
]


def tried_on_purpose(name: str) -> Iterator[Any]:
    """Every limit of every field and parameter of an operation, kept and broken, and methods that the path lacks."""
    return schema().iter_coverage_cases(
        schema().find_operation_by_id(name),
        generation_modes=list(GenerationMode),
        generation_config=schema().config.generation,
    )


@pytest.mark.slow
@pytest.mark.parametrize("operation, caller", RUNS, ids=lambda value: getattr(value, "name", value))
def test_every_answer_is_as_documented(operation: Operation, caller: str, world: World) -> None:
    strategies = [schema().find_operation_by_id(operation.name).as_strategy(generation_mode=m) for m in GenerationMode]

    @hypothesis_settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=one_of(strategies))
    def tried_by_chance(case: Any) -> None:
        attempt(case, caller, world)

    tried_by_chance()
    if caller == (ADMIN if operation.name in ADMINS_ONLY else MEMBER):
        for number, case in enumerate(tried_on_purpose(operation.name)):
            # Lists have forty parameters and eight hundred limits, most of them alike.
            if number < ALL_OF or number % ONE_OF == 0:
                attempt(case, caller, world)
    allowed = operation.name in PUBLIC or caller == ADMIN or (caller == MEMBER and operation.name not in ADMINS_ONLY)
    assert any(200 <= status < 300 for status in world.seen) == allowed
    assert all(status < 500 for status in world.seen)


# The document itself


def test_the_document_is_valid_openapi() -> None:
    assert document()["openapi"].startswith("3.1.")
    assert not [*OpenAPIV31SpecValidator(document()).iter_errors()]


def test_the_document_has_every_route_and_no_other() -> None:
    from duely.config.urls import PREFIX, ROUTES

    real = {
        (method, "/" + PREFIX + re.sub(r"<\w+:(\w+)>", r"{\1}", route))
        for route, resource in ROUTES
        for method in resource.api_endpoints
    }
    assert {(operation.method, operation.path) for operation in operations()} == real


def test_the_document_names_every_alias() -> None:
    from duely.config.urls import ALIASES, PREFIX

    for alias, route in ALIASES:
        described = [
            operation.spec["description"] for operation in operations() if operation.path == f"/{PREFIX}{route}"
        ]
        assert described
        assert all(f"`/{PREFIX}{alias}`" in text for text in described)


@pytest.mark.slow
def test_the_document_is_the_same_as_yaml(client: Client) -> None:
    answer = client.get("/api/v1/schema/?format=yaml")
    assert answer.headers["Content-Type"] == "application/yaml"
    assert yaml.safe_load(answer.content) == document()


def test_names_of_operations_are_unique() -> None:
    names = [operation.name for operation in operations()]
    assert len(set(names)) == len(names)
    assert not [name for name in names if not re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", name)]


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.name)
def test_an_operation_is_described_in_full(operation: Operation) -> None:
    assert re.fullmatch(r"[A-Z].{3,100}\.", operation.spec["summary"])
    assert operation.spec["tags"]
    expected = [] if operation.name in PUBLIC else [{"bearer": []}]
    if operation.name in MAY_SEND_A_TOKEN:
        expected = [{}, {"bearer": []}]
    assert operation.spec.get("security", []) == expected
    named = re.findall(r"{(\w+)}", operation.path)
    declared = [item for item in operation.spec.get("parameters", []) if item["in"] == "path"]
    assert [item["name"] for item in declared] == named
    assert all(item["required"] and item["schema"]["format"] == "uuid" for item in declared)
    queries = [item for item in operation.spec.get("parameters", []) if item["in"] == "query"]
    assert all(item["description"] and item["schema"] for item in queries)
    assert ("requestBody" in operation.spec) == (operation.name in BODIES)


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.name)
def test_answers_of_an_operation_are_described_in_full(operation: Operation) -> None:
    assert get_resolver().url_patterns
    refusals = catalogue()
    answers = operation.spec["responses"]
    assert sum(status.startswith("2") for status in answers) == (2 if operation.name == "createQuickTask" else 1)
    assert {"400", "429", "500", "503"} <= answers.keys()
    assert ("401" in answers) == (operation.name not in PUBLIC - MAY_SEND_A_TOKEN - {"logIn", "refreshToken"})
    for status, answer in answers.items():
        assert answer["description"]
        assert answer["headers"]["X-Request-ID"]["required"]
        if status.startswith(("2", "3")):
            assert ("content" in answer) == (status not in {"204", "304"})
            continue
        codes = answer["x-problem-codes"]
        assert codes
        assert len(set(codes)) == len(codes)
        assert {refusals[code].status for code in codes} == {int(status)}
        assert [*answer["content"]] == [contract.PROBLEM_JSON]


def test_bodies_are_closed() -> None:
    """A field that is not in the document is refused, and the document says so."""
    schemas = document()["components"]["schemas"]
    bodies = {
        operation.spec["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for operation in operations()
        if "requestBody" in operation.spec and operation.name != "importFile"
    }
    assert len(bodies) > 8
    assert not [name for name in bodies if schemas[name].get("additionalProperties") is not False]


def test_every_schema_is_used() -> None:
    text = json.dumps(document())
    assert not [name for name in document()["components"]["schemas"] if f'"#/components/schemas/{name}"' not in text]


def parts(node: Any, at: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the document with its place, but for examples."""
    if isinstance(node, dict):
        yield at, node
    for name, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if name != "examples":
            yield from parts(value, f"{at}/{name}")


def test_every_array_says_what_is_in_it() -> None:
    assert not [at for at, part in parts(document()) if part.get("type") == "array" and "items" not in part]


def test_every_enumeration_has_a_type() -> None:
    assert not [at for at, part in parts(document()) if isinstance(part.get("enum"), list) and "type" not in part]


def test_constants_are_text_or_true() -> None:
    """Programs that make clients do not understand `const: 400`; they do `enum: [400]`."""
    constants = [(at, part["const"]) for at, part in parts(document()) if "const" in part]
    assert constants
    assert not [at for at, value in constants if not isinstance(value, str | bool)]


def test_unions_and_objects_of_answers_have_names() -> None:
    """Else a program would make up one, such as ListTasksResponse400Type0."""
    for operation in operations():
        for answer in operation.spec["responses"].values():
            for content in answer.get("content", {}).values():
                for schema in content["schema"].get("oneOf", [content["schema"]]):
                    assert "$ref" in schema or schema == {"type": "string"}, operation.name
    for at, part in parts(document()["components"]["schemas"]):
        for schema in (
            (*part.get("anyOf", ()), *part.get("oneOf", ())) if isinstance(part.get("anyOf", []), list) else ()
        ):
            assert "properties" not in schema, at


@pytest.mark.parametrize(
    "code",
    sorted(
        {
            code
            for operation in operations()
            for answer in operation.spec["responses"].values()
            for code in answer.get("x-problem-codes", ())
        }
    ),
)
def test_each_code_has_a_schema_that_tells_its_status(code: str) -> None:
    name = "".join(word.capitalize() for word in code.split("_")) + "Problem"
    properties = document()["components"]["schemas"][name]["properties"]
    assert properties["code"] == {"type": "string", "const": code}
    assert properties["status"] == {"type": "integer", "enum": [catalogue()[code].status]}


def test_every_group_of_operations_is_described() -> None:
    named = {tag for operation in operations() for tag in operation.spec["tags"]}
    assert {tag["name"] for tag in document()["tags"] if tag["description"]} == named


def test_descriptions_are_not_indented() -> None:
    texts = [part["description"] for _, part in parts(document()) if isinstance(part.get("description"), str)]
    assert texts
    assert not [text for text in texts if re.search(r"\n +[^ *-]", text) or text != text.strip()]


# Every refusal that the document promises

BODIES = {
    *("signUp", "logIn", "refreshToken", "logOut", "changePassword", "replaceProfile", "updateProfile", "updateUser"),
    *("requestCode", "logInWithCode", "verifyEmail", "changeEmail", "forgotPassword", "verifyResetCode"),
    "resetPassword",
    *("createTask", "replaceTask", "updateTask", "createCategory", "replaceCategory", "updateCategory"),
    *("createBan", "updateBan"),
    *("changeTasks", "createQuickTask", "importFile"),
}
ELSEWHERE = {"internal_error", "rate_limited", "address_banned", "unavailable", "idempotency_in_progress"}
"""A fault of ours, too many requests, a banned address, a database that is away, and two at once: these have tests of
their own."""

PROMISED = [
    (operation, code)
    for operation in operations()
    for answer in operation.spec["responses"].values()
    for code in answer.get("x-problem-codes", [])
    if code not in ELSEWHERE
]


@dataclass
class Request:
    """What to send."""

    operation: Operation
    world: World
    caller: str = ADMIN
    host: str = "localhost"
    media: str = "application/json"
    query: str = ""
    ids: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)
    raw: bytes | None = None
    length: int | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def send(self) -> Any:
        ids = {**self.world.ids[self.caller], **self.world.special.get(self.operation.name, {}), **self.ids}
        path = self.operation.path.format(**ids) + self.query
        whole = {**self.world.bodies.get(self.operation.name, {}), **self.body}
        body = self.raw if self.raw is not None else json.dumps(whole).encode()
        headers = {**self.world.headers[self.caller], "Host": self.host, **self.headers}
        told = {} if self.length is None else {"CONTENT_LENGTH": str(self.length)}
        response = Client().generic(self.operation.method, path, body, self.media, headers=headers, **told)
        contract.check(self.operation.method, path.partition("?")[0], response)
        return response


def provoke_not_authenticated(request: Request) -> None:
    request.caller = NOBODY
    if request.operation.name in MAY_SEND_A_TOKEN:
        request.headers = {"Authorization": "Bearer of-nobody"}


def provoke_costly_import(request: Request) -> None:
    """A small archive with very many rows."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", "title\n" + "a\n" * 200_000)
    request.raw = content.getvalue()


def provoke_validation(request: Request) -> None:
    if request.operation.name in BODIES - {"importFile"}:
        request.body = {"nonsense": 1}
    else:
        request.query = "?nonsense=1"


def provoke_forbidden(request: Request) -> None:
    """The test takes all permissions away from members."""
    request.caller = MEMBER
    if request.operation.name in {"deleteAllTasks", "emptyTrash"}:
        request.query = "?confirm=true"


def change_to_a_taken_address() -> str:
    from duely.accounts.models import User

    return new_token(User.objects.get(username="adam"), "change_email", "alice@example.org")


def provoke_edit_conflict(request: Request) -> None:
    name = "name" if "Category" in request.operation.name else "title"
    other = Request(request.operation, request.world, body={name: "Someone else's"})
    assert other.send().status_code == 200
    request.body = {name: "Mine", "version": 1}


def provoke_another_use_of_a_key(request: Request) -> None:
    request.headers = {"Idempotency-Key": "used"}
    name = "updateProfile" if request.operation.name != "updateProfile" else "createTask"
    other = next(operation for operation in operations() if operation.name == name)
    assert Request(other, request.world, headers=request.headers).send().status_code < 300


def provoke_bad_token(request: Request) -> None:
    name = "token" if request.operation.name == "verifyEmail" else "reset_token"
    request.body = {name: "dlc_" + "A" * 48}


def provoke_existing(request: Request) -> None:
    taken = {
        "signUp": {"username": "alice"},
        "verifyEmail": {"token": change_to_a_taken_address()},
        "createTask": {"id": request.world.ids[MEMBER]["task_id"]},
        "createCategory": {"name": "home"},
        "replaceCategory": {"name": "garden"},
        "updateCategory": {"name": "garden"},
        "createBan": {"network": "198.51.100.7"},
    }
    request.caller = ADMIN if request.operation.name in ADMINS_ONLY else MEMBER
    request.body = taken[request.operation.name]


def provoke_last_admin(request: Request) -> None:
    from duely.accounts import actions
    from duely.accounts.models import User
    from duely.core.clock import now

    for other in User.objects.filter(role="admin", username="another-admin"):
        actions.change_user(actor=None, user_id=other.pk, is_active=False, now=now())
    request.ids = {"user_id": str(User.objects.get(username="adam").pk)}


def provoke_ban_that_is_over(request: Request) -> None:
    from duely.guard.models import Ban

    Ban.objects.update(lifted_at=F("created_at"))


def provoke_large_page(request: Request) -> None:
    from duely.accounts.models import User
    from duely.core.actor import Actor, Origin
    from duely.core.clock import now
    from duely.tasks import actions
    from duely.tasks.rules import MAX_DESCRIPTION_BYTES

    alice = User.objects.get(username="alice")
    actor = Actor(id=alice.id, name="alice", role="member", session_id=None, zone="UTC", origin=Origin())
    fields = {"title": "long", "description": "x" * MAX_DESCRIPTION_BYTES}
    for _ in range(17):
        task = actions.create_task(actor=actor, fields=fields, now=now())
        if request.operation.name == "listTrash":
            actions.delete_task(actor=actor, task_id=task.id, now=now())
    request.query = "?page=1&page_size=100"


def provoke_full_store(request: Request) -> None:
    from duely.accounts.models import User
    from duely.activity.models import Counter

    if request.operation.name not in COUNTED:
        request.headers = {"Idempotency-Key": "one-too-many"}
        for name in ("alice", "adam"):
            keep_answers(User.objects.get(username=name), 1, size=KEPT_ANSWER_BYTES)
        return
    full = {"tasks": F("tasks_limit"), "categories": F("categories_limit")}
    Counter.objects.filter(owner_id=User.objects.get(username="alice").pk).update(**full)
    request.caller = MEMBER


COUNTED = {"createTask", "createQuickTask", "changeTasks", "createCategory", "importFile"}
"""Operations that are refused when a user has too many tasks or categories. Others are by their kept answers alone."""


PROVOKE: dict[str, Callable[[Request], None]] = {
    "not_authenticated": provoke_not_authenticated,
    "cross_site_request": lambda request: setattr(request, "headers", {"Sec-Fetch-Site": "cross-site"}),
    "malformed_request": lambda request: setattr(request, "host", "elsewhere.example"),
    "validation_failed": provoke_validation,
    "invalid_cursor": lambda request: setattr(request, "query", "?cursor=nonsense"),
    "page_too_large": provoke_large_page,
    "quota_exceeded": provoke_full_store,
    "body_too_large": lambda request: setattr(request, "length", 1024**3),
    "unsupported_media_type": lambda request: setattr(request, "media", "text/html"),
    "not_found": lambda request: setattr(request, "ids", dict.fromkeys(request.world.ids[ADMIN], NOTHING)),
    "forbidden": provoke_forbidden,
    "already_exists": provoke_existing,
    "last_admin": provoke_last_admin,
    "ban_is_over": provoke_ban_that_is_over,
    "signup_disabled": lambda request: None,
    "invalid_credentials": lambda request: setattr(request, "body", {"password": "not-the-password"}),
    "invalid_refresh_token": lambda request: setattr(request, "body", {"refresh": "dlr_" + "A" * 43}),
    "email_not_verified": lambda request: None,
    "invalid_code": lambda request: setattr(request, "body", {"code": "no code"}),
    "invalid_token": provoke_bad_token,
    "version_conflict": lambda request: setattr(request, "headers", {"If-Match": '"999"'}),
    "edit_conflict": provoke_edit_conflict,
    "not_in_trash": lambda request: setattr(request, "ids", request.world.ids[MEMBER]),
    "import_too_costly": provoke_costly_import,
    "bulk_refused": lambda request: setattr(
        request, "body", {"operations": [{"op": "delete", "id": NOTHING}], "atomic": True}
    ),
    "idempotency_key_reused": provoke_another_use_of_a_key,
    "unknown_format": lambda request: setattr(request, "raw", b'{"kind": "unknown"}'),
    "password_reused": lambda request: setattr(request, "body", {"new_password": PASSWORD}),
}


@pytest.mark.parametrize("operation, code", PROMISED, ids=lambda value: getattr(value, "name", value))
def test_every_promised_refusal_is_to_be_had(
    operation: Operation, code: str, world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can never happen has no business in the document."""
    from duely.core.permissions import ALLOWED

    if code == "forbidden":
        monkeypatch.setitem(ALLOWED, "member", frozenset())
    settings.SIGNUP_ENABLED = code != "signup_disabled"
    settings.REQUIRE_EMAIL_VERIFICATION = code == "email_not_verified"
    request = Request(operation, world)
    PROVOKE[code](request)
    response = request.send()
    assert response.headers["Content-Type"] == contract.PROBLEM_JSON, response.content
    assert response.json()["code"] == code, response.json()
