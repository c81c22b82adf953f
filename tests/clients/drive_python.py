"""Drives a running Duely with the client made by openapi-python-client."""

import io
import os
import time
from datetime import date
from http import HTTPStatus

from duely_client import AuthenticatedClient, Client
from duely_client.api.auth import log_in, sign_up
from duely_client.api.export_and_import import import_file
from duely_client.api.tasks import change_tasks, create_task, get_task, list_tasks, update_task
from duely_client.models import (
    Bulk,
    CursorPage,
    DeleteOperation,
    ImportFileFilesBody,
    ImportResult,
    LogIn,
    NumberedPage,
    Priority,
    SignUp,
    Status,
    Task,
    TaskIn,
    TaskPage,
    TaskPatch,
    TasksOrdering,
    TokenPair,
    UpdateOperation,
    User,
    ValidationFailedProblem,
    VersionConflictProblem,
)
from duely_client.types import File

URL = os.environ["DUELY_URL"]
PASSWORD = "a long sentence of mine"


def signed_in() -> AuthenticatedClient:
    """A client of a new account."""
    anonymous = Client(base_url=URL)
    name = f"python-{time.time_ns()}"
    account = sign_up.sync(client=anonymous, body=SignUp(name, f"{name}@example.org", PASSWORD))
    assert isinstance(account, User)
    assert account.role == "member"
    pair = log_in.sync(client=anonymous, body=LogIn(PASSWORD, username=name))
    assert isinstance(pair, TokenPair)
    return AuthenticatedClient(base_url=URL, token=pair.access)


def titles(page: object) -> list[object]:
    assert isinstance(page, TaskPage), page
    return [task.title for task in page.data]


def created(client: AuthenticatedClient, title: str, priority: Priority, status: Status) -> Task:
    body = TaskIn(title, priority=priority, status=status, due_date=date(2098, 1, 31))
    task = create_task.sync(client=client, body=body)
    assert isinstance(task, Task)
    return task


def main() -> None:
    client = signed_in()
    milk = created(client, "Milk", Priority.LOW, Status.PENDING)
    rent = created(client, "Rent", Priority.HIGH, Status.IN_PROGRESS)
    bank = created(client, "Bank", Priority.URGENT, Status.COMPLETED)

    # This client sends the defaults of `limit` and `page_size` with every list.
    some = [Status.PENDING, Status.IN_PROGRESS]
    order = [TasksOrdering.PRIORITY_DESCENDING]
    first = list_tasks.sync(client=client, status=some, ordering=order, limit=1)
    assert isinstance(first, TaskPage)
    assert isinstance(first.pagination, CursorPage)
    cursor = first.pagination.next_cursor
    assert isinstance(cursor, str)
    second = list_tasks.sync(client=client, status=some, ordering=order, limit=1, cursor=cursor)
    assert titles(first) + titles(second) == ["Rent", "Milk"]
    numbered = list_tasks.sync(client=client, page=2, page_size=2)
    assert isinstance(numbered, TaskPage)
    assert isinstance(numbered.pagination, NumberedPage)
    assert numbered.pagination.total == 3

    tag = get_task.sync_detailed(milk.id, client=client).headers["ETag"]
    edited = update_task.sync(milk.id, client=client, body=TaskPatch(title="Oat milk", due_date=None), if_match=tag)
    assert isinstance(edited, Task)
    assert (edited.version, edited.due_date) == (2, None)
    stale = update_task.sync_detailed(milk.id, client=client, body=TaskPatch(title="Soy"), if_match=tag)
    assert stale.status_code == HTTPStatus.PRECONDITION_FAILED
    assert isinstance(stale.parsed, VersionConflictProblem)
    assert isinstance(stale.parsed.current, Task)
    assert stale.parsed.current.title == "Oat milk"

    refused = create_task.sync(client=client, body=TaskIn(""))
    assert isinstance(refused, ValidationFailedProblem)
    assert isinstance(refused.errors, list)
    assert [fault.field for fault in refused.errors] == ["title"]

    operations: list[UpdateOperation | DeleteOperation] = [
        UpdateOperation("update", rent.id, status=Status.COMPLETED),
        DeleteOperation("delete", bank.id),
    ]
    changed = change_tasks.sync(client=client, body=Bulk([*operations]))
    assert changed is not None
    assert [result["status"] for result in changed.to_dict()["results"]] == [200, 204]

    # A file as it is, and in a form.
    table = File(io.BytesIO(b"title\nBread\n"), "tasks.csv", "text/csv")
    imported = import_file.sync(client=client, body=table)
    assert isinstance(imported, ImportResult)
    assert imported.tasks.created == 1
    again = File(io.BytesIO(b"title\nBread\n"), "tasks.csv", "text/csv")
    imported = import_file.sync(client=client, body=ImportFileFilesBody(again))
    assert isinstance(imported, ImportResult)
    assert imported.tasks.unchanged == 1


main()
