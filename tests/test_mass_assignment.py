"""Nobody writes a column that an operation does not offer.

Every column of every model is sent to every operation that takes a body. What is offered stands in one list here.
"""

from collections.abc import Iterator
from datetime import date, datetime
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.apps import apps
from django.db import models
from django.test import Client

import contract
from cast import PASSWORD, bearer, person, session_of, undone

pytestmark = pytest.mark.django_db

PROFILE = {"display_name", "time_zone", "locale", "bio", "reminder_emails", "digest_hour"}
TASK = {
    *("title", "description", "status", "completed", "priority"),
    *("due_date", "category", "tags", "reminders"),
}
CATEGORY = {"name", "color", "position"}
OFFERED = {
    "POST auth/signup/": {"username", "email", "password"},
    "POST auth/login/": {"username", "email", "password"},
    "POST auth/token/refresh/": {"refresh"},
    "POST auth/logout/": {"refresh"},
    "POST auth/request-otp/": {"email"},
    "POST auth/verify-otp/": {"email", "code"},
    "POST auth/verify-email/": {"token", "password"},
    "POST auth/change-email/": {"email", "current_password"},
    "POST auth/forgot-password/": {"email"},
    "POST auth/verify-reset-otp/": {"email", "code"},
    "POST auth/reset-password/": {"reset_token", "new_password"},
    "POST auth/change-password/": {"current_password", "new_password"},
    "PUT profile/": PROFILE,
    "PATCH profile/": PROFILE,
    "PATCH users/<id:user_id>/": {"role", "is_active"},
    "POST tasks/": {*TASK, "id", "owner"},
    "PUT tasks/<id:task_id>/": {*TASK, "version"},
    "PATCH tasks/<id:task_id>/": {*TASK, "version"},
    "POST categories/": {*CATEGORY, "id"},
    "PUT categories/<id:category_id>/": {*CATEGORY, "version"},
    "PATCH categories/<id:category_id>/": {*CATEGORY, "version"},
    "POST tasks/bulk/": {"operations", "atomic"},
    "POST tasks/quick/": {"text", "preview"},
    "POST bans/": {"network", "reason", "until"},
    "PATCH bans/<id:ban_id>/": {"reason", "until"},
}
"""What each operation lets its caller write. `version` is compared and not written."""

BODIES: dict[str, dict[str, Any]] = {
    "POST auth/signup/": {"username": "newcomer", "email": "newcomer@example.org", "password": PASSWORD},
    "POST auth/login/": {"username": "alice", "password": PASSWORD},
    "POST auth/token/refresh/": {"refresh": "dlr_" + "A" * 43},
    "POST auth/logout/": {"refresh": "dlr_" + "A" * 43},
    "POST auth/request-otp/": {"email": "alice@example.org"},
    "POST auth/verify-otp/": {"email": "alice@example.org", "code": "123456"},
    "POST auth/verify-email/": {"token": "dlc_" + "A" * 48},
    "POST auth/change-email/": {"email": "other@example.org", "current_password": PASSWORD},
    "POST auth/forgot-password/": {"email": "alice@example.org"},
    "POST auth/verify-reset-otp/": {"email": "alice@example.org", "code": "123456"},
    "POST auth/reset-password/": {"reset_token": "dlc_" + "A" * 48, "new_password": "another-long-sentence"},
    "POST auth/change-password/": {"current_password": PASSWORD, "new_password": "another-long-sentence-of-mine"},
    "POST tasks/": {"title": "Milk"},
    "PUT tasks/<id:task_id>/": {"title": "Milk"},
    "POST categories/": {"name": "Work"},
    "PUT categories/<id:category_id>/": {"name": "Work"},
    "POST tasks/bulk/": {"operations": [{"op": "create", "title": "Milk"}]},
    "POST tasks/quick/": {"text": "Milk"},
    "POST bans/": {"network": "203.0.113.0/24"},
}
"""A body that is complete and right; {} for the others."""

# Names that other products' APIs, forms and frameworks take.
FURTHER = {
    *("pk", "user", "user_id", "owner_id", "category_id", "is_staff", "is_superuser", "is_admin", "admin", "groups"),
    *("permissions", "user_permissions", "last_login", "date_joined", "sees_all", "seq", "password_hash", "scope"),
    *("_connector", "_negated", "__class__", "constructor", "__proto__", "due_on", "due_at", "sid", "sub", ""),
}


@cache
def all_columns() -> dict[str, Any]:
    """Every column of ours, by both of its names, with a value of its type; and FURTHER."""
    kinds = {
        models.UUIDField: "0198c3a0-0000-7000-8000-000000000000",
        models.BooleanField: True,
        models.DateTimeField: "2020-01-01T00:00:00Z",
        models.DateField: "2020-01-01",
        models.IntegerField: 7,
        models.JSONField: ["a"],
        models.ForeignKey: "0198c3a0-0000-7000-8000-000000000000",
    }
    found: dict[str, Any] = dict.fromkeys(FURTHER, True)
    for label in ("accounts", "tasks", "activity", "guard"):
        for model in apps.get_app_config(label).get_models():
            for column in model._meta.concrete_fields:
                value = next((value for kind, value in kinds.items() if isinstance(column, kind)), "admin")
                found |= {column.name: value, column.attname: value}
    assert {"role", "email_verified", "username_key", "version", "created_at", "token_hash", "ended_at"} <= found.keys()
    return found


def operations() -> Iterator[tuple[str, Any]]:
    """(operation, struct of its body)."""
    from duely.config.urls import ROUTES

    for route, resource in ROUTES:
        for method, endpoint in resource.api_endpoints.items():
            for spec in endpoint.metadata.component_parsers:
                if spec.parser.context_name == "parsed_body":
                    yield f"{method} {route}", spec.model


@pytest.fixture
def things() -> dict[str, Any]:
    """Alice with a task and a category, and an admin."""
    from duely.core.actor import Actor, Origin
    from duely.core.clock import now
    from duely.core.ids import new_id
    from duely.guard.models import Ban
    from duely.tasks import actions

    alice, adam = person("alice"), person("adam", role="admin")
    person("another-admin", role="admin")
    session_of(alice)
    actor = Actor(id=alice.id, name="alice", role="member", session_id=None, zone="UTC", origin=Origin())
    category = actions.create_category(actor=actor, fields={"name": "Home"}, now=now())
    task = actions.create_task(actor=actor, fields={"title": "Bread"}, now=now())
    ban = Ban.objects.create(id=new_id(), network="198.51.100.7/32", created_at=now(), automatic=False)
    things = {"user": alice, "task": task, "category": category, "ban": ban}
    return {**things, "alice": bearer(alice), "admin": bearer(adam)}


@cache
def _handler() -> Any:
    return Client().handler


def call(operation: str, body: dict[str, Any], things: dict[str, Any], caller: str) -> Any:
    method, route = operation.split()
    for what in ("task", "category", "user", "ban"):
        route = route.replace(f"<id:{what}_id>", str(things[what].id))
    client = Client()
    client.handler = _handler()
    path = f"/api/v1/{route}"
    response = client.generic(
        method, path, msgspec.json.encode(body), content_type="application/json", headers=things[caller]
    )
    contract.check(method, path, response)
    return response


def stored() -> dict[tuple[str, Any], dict[str, Any]]:
    """Every row of ours: (table, key) → its columns. The change log apart, which has tests of its own."""
    return {
        (model._meta.db_table, row["pk"]): row
        for label in ("accounts", "tasks", "guard")
        for model in apps.get_app_config(label).get_models()
        for row in model._default_manager.values("pk", *(column.attname for column in model._meta.concrete_fields))
    }


def changes(before: dict[Any, Any], after: dict[Any, Any]) -> dict[str, set[str]]:
    """table → the columns that differ in rows that were there before; "new" and "gone" for rows."""
    found: dict[str, set[str]] = {}
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if old is None or new is None:
            found.setdefault(key[0], set()).add("new" if old is None else "gone")
        elif old != new:
            found.setdefault(key[0], set()).update(name for name in old if old[name] != new[name])
    return found


def test_what_is_offered_is_what_the_code_offers() -> None:
    real = {operation: {item.encode_name for item in msgspec.structs.fields(kind)} for operation, kind in operations()}
    assert real == OFFERED


def test_every_body_refuses_what_it_does_not_know() -> None:
    assert not [operation for operation, kind in operations() if not kind.__struct_config__.forbid_unknown_fields]


def caller_of(operation: str) -> str:
    return "admin" if "users/" in operation or "bans/" in operation else "alice"


@pytest.mark.parametrize("operation", OFFERED)
def test_a_column_that_is_not_offered_is_refused_by_name(operation: str, things: dict[str, Any]) -> None:
    before = stored()
    wrong = []
    for name, value in all_columns().items():
        if name in OFFERED[operation]:
            continue
        response = call(operation, {**BODIES.get(operation, {}), name: value}, things, caller_of(operation))
        codes = {fault["field"]: fault["code"] for fault in response.json().get("errors", [])}
        if response.status_code != 400 or codes != {name: "unknown_field"}:
            wrong.append(f"{name}: {response.status_code} {codes}")
    assert not wrong
    assert not changes(before, stored())


@pytest.mark.parametrize("operation", OFFERED)
@pytest.mark.parametrize("caller", ["alice", "admin"])
def test_many_columns_at_once_are_refused_each_by_name(operation: str, caller: str, things: dict[str, Any]) -> None:
    """Together with a right body, in helpings that one answer can name."""
    before = stored()
    strange = sorted(all_columns().keys() - OFFERED[operation])
    for start in range(0, len(strange), 40):
        helping = {name: all_columns()[name] for name in strange[start : start + 40]}
        response = call(operation, {**helping, **BODIES.get(operation, {})}, things, caller)
        assert response.status_code == 400
        unknown = {fault["field"] for fault in response.json()["errors"] if fault["code"] == "unknown_field"}
        assert unknown == helping.keys()
    response = call(operation, {**all_columns(), **BODIES.get(operation, {})}, things, caller)
    assert response.status_code == 400
    assert not changes(before, stored())


ALSO = {"version", "updated_at"}
WRITES: dict[str, dict[str, tuple[Any, set[str]]]] = {
    "tasks_task": {
        "title": ("Other", {"title"}),
        "description": ("Other", {"description"}),
        "status": ("in_progress", {"status"}),
        "completed": (True, {"status", "completed_at"}),
        "priority": ("urgent", {"priority"}),
        "due_date": ("2030-01-01", {"due_on", "due_at"}),
        "tags": (["Shop"], {"tags", "tag_keys"}),
        "reminders": (["-PT30M"], {"reminders"}),
    },
    "tasks_category": {
        "name": ("Other", {"name", "name_key"}),
        "color": ("#123456", {"color"}),
        "position": (9, {"position"}),
    },
    "accounts_user": {
        "display_name": ("Other", {"display_name"}),
        "time_zone": ("Europe/Berlin", {"time_zone"}),
        "locale": ("de", {"locale"}),
        "bio": ("Other", {"bio"}),
        "reminder_emails": (False, {"reminder_emails"}),
        "digest_hour": (7, {"digest_hour"}),
        "role": ("intern", {"role", "signed_out_at"}),
        "is_active": (False, {"is_active", "signed_out_at"}),
    },
    "guard_ban": {
        "reason": ("Other", {"reason"}),
        "until": ("2099-01-31T09:00:00Z", {"until"}),
    },
}
"""table → field → (a new value, the columns that it writes). `category` has a test of its own below."""

UPDATES = [
    ("PATCH tasks/<id:task_id>/", "tasks_task", {}),
    ("PUT tasks/<id:task_id>/", "tasks_task", {"title": "Bread"}),
    ("PATCH categories/<id:category_id>/", "tasks_category", {}),
    ("PUT categories/<id:category_id>/", "tasks_category", {"name": "Home"}),
    ("PATCH profile/", "accounts_user", {}),
    ("PUT profile/", "accounts_user", {}),
    ("PATCH users/<id:user_id>/", "accounts_user", {}),
    ("PATCH bans/<id:ban_id>/", "guard_ban", {}),
]


@pytest.mark.parametrize("operation, table, base", UPDATES)
def test_a_field_writes_its_own_columns_and_no_other(
    operation: str, table: str, base: dict[str, Any], things: dict[str, Any]
) -> None:
    fields = OFFERED[operation] - {"category", "version"}
    also = ALSO if table.startswith("tasks") else set()
    before = stored()
    for field in fields:
        value, columns = WRITES[table][field]
        with undone():
            response = call(operation, {**base, field: value}, things, caller_of(operation))
            found = changes(before, stored())
        assert response.status_code == 200, response.content
        if field in ("is_active", "role"):
            assert found.pop("accounts_session") == {"ended_at", "end_reason"}
        if table == "tasks_task" and field in ("title", "description"):
            assert found.pop("tasks_words") == {"words"}
            found["tasks_task"].remove("words_version")
        assert found == {table: columns | also}, field


@pytest.mark.parametrize(
    "operation, base", [("PATCH tasks/<id:task_id>/", {}), ("PUT tasks/<id:task_id>/", {"title": "Bread"})]
)
def test_the_category_of_a_task_writes_its_own_column(
    operation: str, base: dict[str, Any], things: dict[str, Any]
) -> None:
    before = stored()
    response = call(operation, {**base, "category": str(things["category"].id)}, things, "alice")
    assert response.status_code == 200
    assert changes(before, stored()) == {"tasks_task": {"category_id"} | ALSO}


ONE_OF_MANY = {
    "create": {*TASK, "op", "id", "owner"},
    "update": {*TASK, "op", "id", "version"},
    "delete": {"op", "id"},
}
"""What each of many operations lets its caller write."""


@pytest.mark.parametrize("op", ONE_OF_MANY)
@pytest.mark.parametrize("caller", ["alice", "admin"])
def test_one_of_many_operations_offers_no_more_than_it_does_by_itself(
    op: str, caller: str, things: dict[str, Any]
) -> None:
    base = {"op": op, **({"title": "x"} if op == "create" else {"id": str(things["task"].id)})}
    strange = sorted(all_columns().keys() - ONE_OF_MANY[op])
    operations = [{**base, name: all_columns()[name]} for name in strange]
    before = stored()
    for start in range(0, len(operations), 100):
        answer = call("POST tasks/bulk/", {"operations": operations[start : start + 100]}, things, caller)
        for name, result in zip(strange[start:], answer.json()["results"], strict=False):
            codes = {fault["field"]: fault["code"] for fault in result["body"]["errors"]}
            assert (result["status"], codes) == (400, {name: "unknown_field"})
    assert not changes(before, stored())


def test_a_new_account_has_what_every_new_account_has(things: dict[str, Any]) -> None:
    from duely.accounts.models import User

    before = stored()
    call("POST auth/signup/", BODIES["POST auth/signup/"], things, "alice")
    assert changes(before, stored()) == {"accounts_user": {"new"}, "accounts_code": {"new"}}
    made = User.objects.get(username="newcomer")
    plain = {"role": "member", "is_active": True, "email_verified": False, "is_staff": False, "is_superuser": False}
    assert {name: getattr(made, name) for name in plain} == plain


def test_a_new_task_has_what_every_new_task_has(things: dict[str, Any]) -> None:
    from duely.tasks.models import Task

    answer = call("POST tasks/", BODIES["POST tasks/"], things, "alice").json()
    made = Task.objects.get(pk=answer["id"])
    plain = {"owner_id": things["user"].id, "version": 1, "deleted_at": None, "former_status": None, "due_on": None}
    assert {name: getattr(made, name) for name in plain} == plain
    assert made.created_at == made.updated_at


def test_the_values_that_are_sent_are_of_the_right_type() -> None:
    """So that a column which did get through would be stored, and noticed."""
    values = all_columns()
    assert UUID(values["owner"])
    assert datetime.fromisoformat(values["created_at"])
    assert date.fromisoformat(values["due_on"])
    assert values["email_verified"] is True
    assert values["role"] == "admin"
