"""Requests to the API, each in a process of its own that is killed on the way; run by test_idempotency.py.

The argument is the database as JSON. Each line of standard input is a request as JSON with the `step` at which to die;
the answer is a line: the signal that ended its process, or, for a step that is never reached, the names of all steps as
JSON: each statement, the commit, and the answer that is ready but not sent.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import django
from django.conf import settings

settings.DATABASES["default"]["OPTIONS"].pop("pool", None)
settings.DATABASES["default"].update(json.loads(sys.argv[1]))
django.setup()

from django.db import connection  # noqa: E402 - settings come first
from django.test import Client  # noqa: E402


class Steps:
    """Counts the steps, and dies at one of them."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.names: list[str] = []

    def reach(self, name: str) -> None:
        if len(self.names) == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        self.names.append(name)

    def statement(self, execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        self.reach(f"before {sql}")
        return execute(sql, *arguments)


def send(client: Client, request: dict[str, Any]) -> str:
    """The names of all steps, unless one of them is the last."""
    steps = Steps(request["step"])
    connection.ensure_connection()
    commit = connection._commit

    def watched_commit() -> None:
        steps.reach("before COMMIT")
        commit()
        steps.reach("after COMMIT")

    connection._commit = watched_commit
    with connection.execute_wrapper(steps.statement):
        answer = client.post(
            request["path"], request["body"], content_type="application/json", headers=request["headers"]
        )
    assert answer.status_code == 201, answer.content
    steps.reach("before the answer")
    return json.dumps(steps.names)


def main() -> None:
    client = Client(SERVER_NAME="localhost")
    client.handler.load_middleware()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            print(send(client, json.loads(line)), flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
