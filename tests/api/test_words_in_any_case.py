"""Every word of a closed set is read in any case, wherever a client sends one."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from cast import Api, adam, alice
from contract import Operation, content_of, document, operations

pytestmark = pytest.mark.django_db

ID = "0198c3a0-0000-7000-8000-000000000000"


def words(schema: dict[str, Any]) -> list[str]:
    """The words that a schema allows: those of an enumeration, of a list of them, or true and false."""
    if "$ref" in schema:
        return words(document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if schema.get("type") == "boolean":
        return ["true"] if schema.get("const") else ["true", "false"]
    inner = [schema, schema.get("items", {}), *schema.get("anyOf", []), *schema.get("oneOf", [])]
    refs = [words(each) for each in inner[1:] if "$ref" in each]
    found = [word for each in inner for word in each.get("enum", [each["const"]] if "const" in each else [])]
    return [word for word in [*found, *(word for each in refs for word in each)] if isinstance(word, str)]


def in_queries() -> Iterator[tuple[Operation, str, list[str]]]:
    for operation in operations():
        for parameter in operation.spec.get("parameters", []):
            if parameter["in"] == "query" and (allowed := words(parameter["schema"])):
                yield operation, parameter["name"], allowed


def in_bodies() -> Iterator[tuple[Operation, str, list[str]]]:
    for operation in operations():
        content = operation.spec.get("requestBody", {}).get("content", {}).get("application/json", {})
        name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        for field, schema in document()["components"]["schemas"].get(name, {}).get("properties", {}).items():
            if schema.get("type") != "boolean" and (allowed := words(schema)):
                yield operation, field, allowed


def name_of(value: Any) -> str | None:
    return value.name if isinstance(value, Operation) else value if isinstance(value, str) else None


def made_by_cases(word: str) -> list[str]:
    return [word.upper(), word.title(), word.swapcase()]


@pytest.mark.parametrize("operation, name, allowed", [*in_queries()], ids=name_of)
def test_words_of_query_strings_are_read_in_any_case(operation: Operation, name: str, allowed: list[str]) -> None:
    api = Api(adam())
    path = operation.path.removeprefix("/api/v1/")
    for word in allowed:
        body = {"format": "duely", "version": 1} if operation.name == "importFile" else None
        for form in made_by_cases(word):
            answer = api.call(operation.method, f"{path}?{urlencode({name: form})}", body)
            assert answer.status_code == 200, form
            assert content_of(answer)


@pytest.mark.parametrize("operation, name, allowed", [*in_bodies()], ids=name_of)
def test_words_of_bodies_are_read_in_any_case(operation: Operation, name: str, allowed: list[str]) -> None:
    api, user = Api(adam()), alice()
    task = api.post("tasks/", {"title": "Milk"}).json()
    path = operation.path.removeprefix("/api/v1/").format(task_id=task["id"], user_id=user.pk)
    for word in allowed:
        if word == "overdue":  # set by the system alone
            continue
        for form in made_by_cases(word):
            title = {"title": "Milk"} if operation.path.startswith("/api/v1/tasks/") else {}
            answer = api.call(operation.method, path, {**title, name: form})
            assert answer.status_code in (200, 201), (form, answer.content)
            assert answer.json()[name] == word


def test_the_bodies_with_words_are_known() -> None:
    assert {(operation.name, name) for operation, name, _ in in_bodies()} >= {
        ("createTask", "status"),
        ("createTask", "priority"),
        ("replaceTask", "status"),
        ("updateTask", "priority"),
        ("updateUser", "role"),
    }


@pytest.mark.parametrize("form", ["CREATE", "Create", "cREATE"])
def test_operations_of_many_are_named_in_any_case(form: str) -> None:
    api = Api(alice())
    operations = [{"op": form, "title": "Milk", "status": "DONE", "priority": "HIGH"}]
    (result,) = api.post("tasks/bulk/", {"operations": operations}).json()["results"]
    task = result["body"]
    assert (result["status"], task["status"], task["priority"]) == (201, "completed", "high")
    others = [{"op": "UPDATE", "id": task["id"], "status": "Pending"}, {"op": "Delete", "id": task["id"]}]
    assert [each["status"] for each in api.post("tasks/bulk/", {"operations": others}).json()["results"]] == [200, 204]


def test_words_of_files_are_read_in_any_case() -> None:
    api = Api(alice())
    rows = [{"id": ID, "title": "Milk", "status": "IN_PROGRESS", "priority": "Urgent"}]
    answer = api.post("import/", {"format": "duely", "version": 1, "tasks": rows})
    assert answer.status_code == 200, answer.content
    (task,) = api.get("tasks/").json()["data"]
    assert (task["status"], task["priority"]) == ("in_progress", "urgent")


def test_kinds_of_entries_of_the_log_are_read_in_any_case() -> None:
    api = Api(alice())
    api.post("tasks/", {"title": "Milk"})
    for query in ("action=Task.Created", "target=TASK&action=task.created", "action__ne=AUTH.LOGIN&target=task"):
        assert [entry["action"] for entry in api.get(f"activity-logs/?{query}").json()["data"]] == ["task.created"]


@pytest.mark.parametrize("form", ["yaml", "YAML", "Yaml"])
def test_the_document_comes_as_yaml_in_any_case(form: str, client: Any) -> None:
    assert client.get(f"/api/v1/schema/?format={form}").headers["Content-Type"] == "application/yaml"
    assert json.loads(client.get("/api/v1/schema/").content)
