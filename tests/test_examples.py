"""The examples of bodies in the OpenAPI document work as they stand."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.test import Client

import contract
from cast import Api, bearer, new_code, new_token, person, refresh_token_of, session_of
from contract import Operation, operations
from duely.accounts.schemas import PASSWORD_EXAMPLE

pytestmark = pytest.mark.django_db

NEWCOMERS = {"signUp"}
"""Operations that make the account which the others need."""
ADMINS = {"updateUser", "createBan", "updateBan"}


def examples() -> list[tuple[Operation, str, str, Any]]:
    """Operation, media type, name and value of every example."""
    return [
        (operation, media, name, example["value"])
        for operation in operations()
        for media, content in operation.spec.get("requestBody", {}).get("content", {}).items()
        for name, example in content.get("examples", {}).items()
    ]


def secrets(operation: str, user: Any) -> dict[str, str]:
    """What only the server can make, and sends by mail or in answers: it stands in for what the example holds."""
    match operation:
        case "logInWithCode":
            return {"code": new_code(user.email)}
        case "verifyResetCode":
            return {"code": new_code(user.email, "reset")}
        case "resetPassword":
            return {"reset_token": new_token(user, "reset_token")}
        case "verifyEmail":
            return {"token": new_token(user, "verify_email")}
        case "refreshToken" | "logOut":
            return {"refresh": refresh_token_of(session_of(user))}
    return {}


NAMES = [f"{operation.name}-{name}" for operation, _, name, _ in examples()]


@pytest.mark.parametrize("operation, media, name, value", examples(), ids=NAMES)
def test_an_example_works_as_it_stands(operation: Operation, media: str, name: str, value: Any) -> None:
    headers: dict[str, str] = {}
    ids: dict[str, str] = {}
    if operation.name not in NEWCOMERS:
        marie = person(
            "marie", role="admin" if operation.name in ADMINS else "member", password=make_password(PASSWORD_EXAMPLE)
        )
        headers = bearer(marie) if operation.spec.get("security") else {}
        ids = made_for(operation, Api(marie))
        value = {**value, **secrets(operation.name, marie)}

    answer = Client().generic(
        operation.method, operation.path.format(**ids), json.dumps(value), content_type=media, headers=headers
    )

    assert 200 <= answer.status_code < 300, (value, answer.content)


def test_examples_collide_with_nobody_of_the_readme() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    people = set(re.findall(r'"(?:username|email)\\?": \\?"([^"\\]+)', readme))
    assert {"ada", "ada@example.org", "grace@example.org"} <= people

    named = {str(value[field]) for *_, value in examples() for field in ("username", "email") if field in value}
    assert named & people == set()


def test_the_document_says_which_token_to_paste_where() -> None:
    scheme = contract.document()["components"]["securitySchemes"]["bearer"]

    assert "auth/login/" in scheme["description"]
    assert "without the word `Bearer`" in scheme["description"]


def made_for(operation: Operation, api: Api) -> dict[str, str]:
    """The ids of what the path of an operation names."""
    if "task_id" in operation.path:
        return {"task_id": api.post("tasks/", {"title": "Milk"}).json()["id"]}
    if "category_id" in operation.path:
        return {"category_id": api.post("categories/", {"name": "Work"}).json()["id"]}
    if "ban_id" in operation.path:
        return {"ban_id": api.post("bans/", {"network": "198.51.100.7"}).json()["id"]}
    return {"user_id": str(person("someone").pk)} if "user_id" in operation.path else {}


def test_every_body_has_an_example_that_fits_its_schema() -> None:
    with_body = {operation.name for operation in operations() if "requestBody" in operation.spec}
    assert {operation.name for operation, *_ in examples()} == with_body
    for operation, media, name, value in examples():
        schema = operation.spec["requestBody"]["content"][media]["schema"]
        assert contract.compiled(schema).is_valid(value), (operation.name, name)
