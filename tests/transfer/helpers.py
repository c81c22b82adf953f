"""Files in and out, as a client sends and gets them."""

import json
from typing import Any

from django.test import Client

import contract
from cast import V1, Api


def bring(api: Api, content: Any, media: str = "application/json", *, preview: bool = False) -> Any:
    """Import a file: bytes or text as they are, anything else as JSON."""
    body = content if isinstance(content, bytes | str) else json.dumps(content)
    path = f"{V1}import/" + ("?preview=true" if preview else "")
    return Client().generic("POST", path, body, content_type=media, headers=api.headers)


def export(api: Api, kind: str = "json") -> bytes:
    """Everything of theirs as a file."""
    response = api.get(f"export/?format={kind}")
    assert response.status_code == 200
    return contract.content_of(response)


def made(api: Api) -> dict[str, dict[str, Any]]:
    """All tasks by their titles, with the names of their categories."""
    whole = json.loads(export(api))
    names = {category["id"]: category["name"] for category in whole["categories"]}
    return {task["title"]: {**task, "category": names.get(task["category"])} for task in whole["tasks"]}


def notes_of(answer: Any) -> dict[tuple[str, str], int]:
    """How many values of which field were not taken as they were, and why. An answer, or its body."""
    body = answer if isinstance(answer, dict) else answer.json()
    return {(note["field"], note["reason"]): note["count"] for note in body["notes"]}


def counts(response: Any, of: str = "tasks") -> dict[str, int]:
    """How many rows of a file that came in became what, but for what none became."""
    assert response.status_code == 200, response.content
    return {name: number for name, number in response.json()[of].items() if number}
