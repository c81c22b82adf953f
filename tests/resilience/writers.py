"""Clients that write without a pause and keep a ledger of what they were told."""

import http.client
import json
import random
import re
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from uuid import UUID

from tests.resilience.ledger import Attempt, Board, Kind, Outcome, Verb
from tests.resilience.service import HOST
from tests.smtp_server import Received

ANSWER_SECONDS = 20.0
PAUSE_SECONDS = 0.03
GIVE_UP_SECONDS = 60.0
LINK_SECONDS = 30.0
WRITES_BETWEEN_REFRESHES = 40
MOST_WITH_KEY = 2_000
"""Requests of a writer with a key. Two writers of one account stay below its quota of 5,000 kept answers."""
STATUSES = ("pending", "in_progress", "completed", "cancelled")
PASSWORD = "quiet-orchard-71-meadow"


class NoConnection(Exception):
    """The request was not sent."""


class NoAnswer(Exception):
    """The request was sent, in part at least, and no complete answer came."""

    def __init__(self, *, timed_out: bool) -> None:
        super().__init__()
        self.timed_out = timed_out


class Outage(Exception):
    """The service did not answer at all for a long time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer."""

    status: int
    body: Any

    def __str__(self) -> str:
        return f"{self.status} {json.dumps(self.body)[:300]}"


@dataclass(frozen=True, slots=True)
class Account:
    """Someone who can sign in."""

    username: str
    password: str = PASSWORD


class Client:
    """One connection that is kept open as long as the other side does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: http.client.HTTPConnection | None = None

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send one request, never twice. Raises NoConnection, NoAnswer."""
        connection = self._connected()
        try:
            connection.request(
                method,
                f"/api/v1/{path}",
                None if body is None else json.dumps(body),
                {
                    "Content-Type": "application/json",
                    **{name.replace("_", "-"): text for name, text in headers.items()},
                },
            )
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NoAnswer(timed_out=isinstance(error, TimeoutError)) from None
        if response.will_close:
            self.close()
        return Answer(response.status, json.loads(content) if content else None)

    def call_until_answered(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a request that may be repeated, until there is an answer that is no 503. Raises Outage."""
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < deadline:
            try:
                answer = self.call(method, path, body, **headers)
            except (NoConnection, NoAnswer):
                time.sleep(PAUSE_SECONDS)
                continue
            if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
                return answer
            time.sleep(PAUSE_SECONDS)
        raise Outage(f"no answer to {method} {path} within {GIVE_UP_SECONDS:.0f} s")

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            connection = http.client.HTTPConnection(HOST, self._port, timeout=ANSWER_SECONDS)
            try:
                connection.connect()
            except OSError:
                connection.close()
                raise NoConnection from None
            self._connection = connection
        return self._connection


def sign_up(client: Client, account: Account) -> None:
    """Make the account. Raises RuntimeError when the service refuses."""
    body = {"username": account.username, "email": f"{account.username}@example.org", "password": account.password}
    answer = client.call_until_answered("POST", "auth/signup/", body)
    if answer.status != HTTPStatus.CREATED:
        raise RuntimeError(f"sign-up was answered with {answer}")


def verify(client: Client, account: Account, received: Sequence[Received]) -> None:
    """Follow the link that a new account is mailed. Raises RuntimeError when it does not come or is refused."""
    deadline = time.monotonic() + LINK_SECONDS
    while time.monotonic() < deadline:
        for mail in list(received):
            link = re.search(r"/verify-email/#(\S+)", mail.part("plain"))
            if link and f"{account.username}@example.org" in mail.recipients:
                # Without the password the link would end it.
                body = {"token": link[1], "password": account.password}
                answer = client.call_until_answered("POST", "auth/verify-email/", body)
                if answer.status != HTTPStatus.OK:
                    raise RuntimeError(f"the link was answered with {answer}")
                return
        time.sleep(0.05)
    raise RuntimeError(f"no link came to {account.username} in {LINK_SECONDS:.0f} s")


def sign_in(client: Client, account: Account) -> dict[str, str]:
    """A pair of tokens. Raises RuntimeError when the service refuses."""
    body = {"username": account.username, "password": account.password}
    answer = client.call_until_answered("POST", "auth/login/", body)
    if answer.status != HTTPStatus.OK:
        raise RuntimeError(f"sign-in was answered with {answer}")
    return {name: answer.body[name] for name in ("access", "refresh")}


@dataclass(slots=True)
class Known:
    """What a writer knows to exist, and may write to."""

    tasks: list[UUID] = field(default_factory=list)
    categories: list[UUID] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Write:
    """One write as it is sent, perhaps more than once; `label` as in the ledger."""

    verb: Verb
    kind: Kind
    target: UUID | None
    label: str | None
    body: Any = None

    @property
    def method(self) -> str:
        return {Verb.CREATE: "POST", Verb.UPDATE: "PATCH", Verb.DELETE: "DELETE"}[self.verb]

    @property
    def path(self) -> str:
        collection = {Kind.TASK: "tasks/", Kind.CATEGORY: "categories/"}[self.kind]
        return collection if self.verb is Verb.CREATE else f"{collection}{self.target}/"


def _still_runs(answer: Answer) -> bool:
    """Whether the first request with the key has not ended: its process may be dead before the database knows."""
    return answer.status == HTTPStatus.CONFLICT and answer.body["code"] == "idempotency_in_progress"


class Writer:
    """One client with a session of its own, doing one write after the other until told to stop.

    Only this thread writes to its own tasks and categories. An account may have several writers.
    """

    def __init__(self, number: int, *, port: int, account: Account, board: Board, seed: int, most_writes: int) -> None:
        self.name = f"writer {number}"
        self.attempts: list[Attempt] = []
        self.failure: str | None = None
        self._number = number
        self._client = Client(port)
        self._account = account
        self._board = board
        self._random = random.Random(f"{seed}/{number}")
        self._most_writes = most_writes
        self._keyed = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._known = Known()
        self._tokens: dict[str, str] = {}

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Let it finish the present write and end."""
        self._stopping.set()

    def has_ended(self, seconds: float) -> bool:
        """Whether it ends within this time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._tokens = sign_in(self._client, self._account)
            while not self._stopping.is_set() and len(self.attempts) < self._most_writes:
                self._write_something()
                if len(self.attempts) % WRITES_BETWEEN_REFRESHES == 0:
                    self._refresh()
        except (Outage, RuntimeError) as error:
            self.failure = f"{self.name}: {error}"
        finally:
            self._client.close()

    def _write_something(self) -> None:
        choice = self._random.random()
        tasks, categories = self._known.tasks, self._known.categories
        if choice < 0.10 or not categories:
            self._create_category()
        elif choice < 0.15:
            self._update_category()
        elif choice < 0.18 and len(categories) > 2:
            self._delete(Kind.CATEGORY, categories)
        elif choice < 0.55 or len(tasks) < 3:
            self._create_task()
        elif choice < 0.85:
            self._update_task()
        else:
            self._delete(Kind.TASK, tasks)

    def _create_task(self) -> None:
        label = self._label("task")
        body: dict[str, Any] = {
            "title": label,
            "status": self._random.choice(STATUSES),
            "description": "x" * self._random.randrange(2000),
        }
        if self._random.random() < 0.5:
            body["category"] = str(self._random.choice(self._known.categories))
        self._create(Kind.TASK, label, body, self._known.tasks)

    def _create_category(self) -> None:
        label = self._label("category")
        self._create(Kind.CATEGORY, label, {"name": label, "color": "#1f6f5c"}, self._known.categories)

    def _create(self, kind: Kind, label: str, body: dict[str, Any], known: list[UUID]) -> None:
        """Make it, with an id of our own three times out of four; it is known when it is there for certain."""
        chosen = self._new_id() if self._random.random() < 0.75 else None
        if chosen is not None:
            body["id"] = str(chosen)
        write = Write(Verb.CREATE, kind, chosen, label, body)
        attempt, answer = self._send(write)
        if attempt.outcome is Outcome.UNKNOWN and chosen is not None and self._random.random() < 0.5:
            # Whether the first request had its effect is open: the second one must find it, or make it.
            attempt, answer = self._send(write, also_fine=HTTPStatus.CONFLICT)
        if answer is not None and attempt.outcome is Outcome.ACKNOWLEDGED:
            attempt.target = UUID(answer.body["id"])
            known.append(attempt.target)
        elif chosen is not None and attempt.status == HTTPStatus.CONFLICT:
            known.append(chosen)

    def _update_task(self) -> None:
        label = self._label("task")
        body: dict[str, Any] = {"title": label}
        if self._random.random() < 0.4:
            body["status"] = self._random.choice(STATUSES)
        if self._random.random() < 0.2:
            body["category"] = str(self._random.choice(self._known.categories))
        self._send(Write(Verb.UPDATE, Kind.TASK, self._random.choice(self._known.tasks), label, body))

    def _update_category(self) -> None:
        target, label = self._random.choice(self._known.categories), self._label("category")
        self._send(Write(Verb.UPDATE, Kind.CATEGORY, target, label, {"name": label}))

    def _delete(self, kind: Kind, known: list[UUID]) -> None:
        target = known.pop(self._random.randrange(len(known)))
        write = Write(Verb.DELETE, kind, target, None)
        attempt, _ = self._send(write)
        if attempt.outcome is Outcome.UNKNOWN and self._random.random() < 0.5:
            self._send(write, also_fine=HTTPStatus.NOT_FOUND)

    def _send(self, write: Write, *, also_fine: int = 0) -> tuple[Attempt, Answer | None]:
        """Send a write and enter it in the ledger. A 401 is a reason to refresh and to send it as a new request."""
        attempt, answer = self._send_once(write)
        if answer is not None and answer.status == HTTPStatus.UNAUTHORIZED:
            self._refresh()
            attempt, answer = self._send_once(write)
        if answer is not None and attempt.outcome is Outcome.REFUSED and answer.status != also_fine:
            self._board.note_surprise(f"{write.method} {write.path}: {answer}")
        return attempt, answer

    def _send_once(self, write: Write) -> tuple[Attempt, Answer | None]:
        attempt = Attempt(self._number, str(self._new_id()), write.verb, write.kind, write.target, write.label)
        self.attempts.append(attempt)
        began = time.monotonic()
        keyed = write.verb is not Verb.DELETE and self._random.random() < 0.5 and self._keyed < MOST_WITH_KEY
        self._keyed += keyed
        call = self._call_with_key if keyed else self._call
        try:
            answer = call(write, attempt.request_id)
        except NoConnection:
            time.sleep(PAUSE_SECONDS)
            return attempt, None
        except NoAnswer as missing:
            attempt.outcome, attempt.timed_out = Outcome.UNKNOWN, missing.timed_out
            if missing.timed_out:
                self._board.note_timeout()
            return attempt, None
        attempt.status = answer.status
        self._board.note_status(answer.status)
        if answer.status < HTTPStatus.MULTIPLE_CHOICES:
            attempt.outcome = Outcome.ACKNOWLEDGED
            self._board.note_acknowledged(began=began, ended=time.monotonic())
        elif answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
            attempt.outcome = Outcome.UNKNOWN
        else:
            attempt.outcome = Outcome.REFUSED
        return attempt, answer

    def _call(self, write: Write, request_id: str, **headers: str) -> Answer:
        return self._client.call(
            write.method,
            write.path,
            write.body,
            Authorization=f"Bearer {self._tokens['access']}",
            X_Request_ID=request_id,
            **headers,
        )

    def _call_with_key(self, write: Write, request_id: str) -> Answer:
        """Send it with an Idempotency-Key, again and again until there is an answer. Raises Outage."""
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < deadline:
            try:
                answer = self._call(write, request_id, Idempotency_Key=request_id)
            except (NoConnection, NoAnswer):
                self._board.note_retry()
                time.sleep(PAUSE_SECONDS)
                continue
            if answer.status == HTTPStatus.UNAUTHORIZED:
                self._refresh()
            elif answer.status == HTTPStatus.SERVICE_UNAVAILABLE or _still_runs(answer):
                self._board.note_retry()
                time.sleep(PAUSE_SECONDS)
            else:
                return answer
        raise Outage(f"no answer to {write.method} {write.path} within {GIVE_UP_SECONDS:.0f} s")

    def _refresh(self) -> None:
        """Trade the refresh token for a new pair. One whose answer was lost is sent again, as the grace time allows."""
        answer = self._client.call_until_answered("POST", "auth/token/refresh/", {"refresh": self._tokens["refresh"]})
        self._board.note_status(answer.status)
        if answer.status == HTTPStatus.OK:
            self._tokens = {name: answer.body[name] for name in ("access", "refresh")}
            return
        self._board.note_lost_session(f"{self.name}: refreshing was answered with {answer}")
        self._tokens = sign_in(self._client, self._account)

    def _label(self, noun: str) -> str:
        return f"{noun} {self._number}-{len(self.attempts)}-{self._new_id().hex[:12]}"

    def _new_id(self) -> UUID:
        return uuid.UUID(int=self._random.getrandbits(128), version=4)
