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
