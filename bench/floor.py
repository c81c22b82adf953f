"""The floor: about the least that an answer can cost in Python. `granian --interface rsgi floor:application`.

A bare RSGI handler with asyncpg on Duely's own tables. Each request is one statement, the database builds the JSON, and
the writes store task, words, counter and log entry in one CTE, as Duely does. There is no validation, no limit, no log,
no session that could be ended; tokens are checked once and then remembered.
"""

import asyncio
import json
import os
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID, uuid4

import asyncpg
import jwt

KEY = os.environ["SECRET_KEY"]
LIMIT = 20
CONNECTIONS = 8
RANKS = {"low": 1, "medium": 2, "high": 3, "urgent": 4}
JSON = [("content-type", "application/json")]

_INSTANT = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
_DUE = f"coalesce({{0}}.due_on::text, {_INSTANT.format('{0}.due_at')})"
TASK = f"""json_build_object('id', t.id, 'owner', t.owner_id, 'title', t.title, 'description', t.description,
    'status', t.status, 'completed', t.status = 'completed', 'completed_at', {_INSTANT.format("t.completed_at")},
    'priority', (ARRAY['low', 'medium', 'high', 'urgent'])[t.priority], 'due_date', {_DUE.format("t")},
    'category', t.category_id, 'tags', t.tags, 'reminders', t.reminders, 'version', t.version,
    'created_at', {_INSTANT.format("t.created_at")}, 'updated_at', {_INSTANT.format("t.updated_at")},
    'deleted_at', {_INSTANT.format("t.deleted_at")})"""
MINE = "t.owner_id = $1 AND t.deleted_at IS NULL"


def _list(where: str = "", order: str = "t.created_at DESC, t.id DESC") -> str:
    """A page: its tasks as JSON, how many were found, where the last one stands, and how often the list has changed."""
    return f"""WITH page AS (
        SELECT t.*, row_number() OVER () AS place
        FROM (SELECT * FROM tasks_task t WHERE {MINE} {where} ORDER BY {order} LIMIT {LIMIT + 1}) t
    ) SELECT json_agg({TASK} ORDER BY t.place) FILTER (WHERE t.place <= {LIMIT}), count(*),
        max(t.created_at) FILTER (WHERE t.place = {LIMIT}), (array_agg(t.id ORDER BY t.place))[{LIMIT}],
        (SELECT seq FROM activity_counter WHERE owner_id = $1) FROM page t"""


LIST = _list()
NEXT = _list("AND (t.created_at, t.id) < ($2, $3)")
BY_DUE = _list("AND t.status = $2", "t.due_at, t.id")
SEARCH = _list("AND t.id IN (SELECT task_id FROM tasks_words WHERE words @@ $2::text::tsquery)")
GET = f"SELECT {TASK} FROM tasks_task t WHERE t.id = $2 AND {MINE}"
SEQ = "SELECT seq FROM activity_counter WHERE owner_id = $1"
_RECORD = """counted AS (
        INSERT INTO activity_counter AS c (owner_id, seq) SELECT owner_id, 1 FROM t
        ON CONFLICT (owner_id) DO UPDATE SET seq = c.seq + 1 RETURNING seq
    ), logged AS (
        INSERT INTO activity_change (id, owner_id, seq, at, actor_id, actor_name, action, target_type, target_id,
            target_label, changes, user_agent, request_id)
        SELECT {id}, t.owner_id, counted.seq, t.updated_at, t.owner_id, {name}, '{action}', 'task', t.id,
            t.title, {changes}, '', '' FROM t, counted
    )"""
CREATE = f"""WITH t AS (
        INSERT INTO tasks_task (id, owner_id, title, description, status, priority, tags, tag_keys, reminders, version,
            created_at, updated_at)
        VALUES ($2, $1, $3, $4, 'pending', $5, $6::text::jsonb, '[]', '[]', 1, $7, $7) RETURNING *
    ), indexed AS (
        INSERT INTO tasks_words (task_id, scope, words) VALUES ($2, $8, $9::text::tsvector)
    ), {_RECORD.format(id="$10", name="$11", action="task.created", changes="$12")} SELECT {TASK} FROM t"""
UPDATE = f"""WITH old AS (
        SELECT t.id, t.due_on, t.due_at, t.priority FROM tasks_task t WHERE t.id = $2 AND {MINE} FOR NO KEY UPDATE
    ), t AS (
        UPDATE tasks_task t SET due_on = NULL, due_at = $3, priority = $4, version = t.version + 1, updated_at = $5
        FROM old WHERE t.id = old.id RETURNING t.*
    ), {
    _RECORD.format(
        id="$6",
        name="$7",
        action="task.updated",
        changes="(SELECT json_build_object('due_date', json_build_array("
        f"{_DUE.format('old')}, {_DUE.format('t')}), 'priority', json_build_array(old.priority, t.priority))::text"
        " FROM old)",
    )
} SELECT {TASK} FROM t"""


@lru_cache(maxsize=4096)
def caller(authorization: str) -> tuple[UUID, str, float]:
    """User, name and end of a genuine token."""
    claims = jwt.decode(authorization.removeprefix("Bearer "), KEY, algorithms=["HS256"])
    return UUID(claims["sub"]), claims["name"], claims["exp"]


class Application:
    """Answers /api/v1/tasks/ and what is below."""

    pool: asyncpg.Pool

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Connect, before the first request comes."""
        # The connections are never left in another state, so that nothing is to be reset between two uses.
        pool = asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=CONNECTIONS, reset=_nothing)
        self.pool = loop.run_until_complete(pool)

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """One request."""
        try:
            user, name, end = caller(scope.headers.get("authorization", ""))
        except jwt.InvalidTokenError:
            end = 0
        if end <= time.time():
            protocol.response_empty(401, [])
            return
        task = scope.path.removeprefix("/api/v1/tasks/").rstrip("/")
        if scope.method == "GET" and not task:
            await self.list(protocol, user, dict(parse_qsl(scope.query_string)), scope.headers.get("if-none-match"))
        elif scope.method == "GET":
            show(protocol, 200, await self.pool.fetchval(GET, user, UUID(task)))
        elif scope.method == "POST":
            show(protocol, 201, await self.create(user, name, json.loads(await protocol())))
        else:
            show(protocol, 200, await self.update(user, name, UUID(task), json.loads(await protocol())))

    async def list(self, protocol: Any, user: UUID, query: dict[str, str], tag: str | None) -> None:
        """A page of tasks, or that it has not changed."""
        if tag and tag == f'"{await self.pool.fetchval(SEQ, user)}"':
            protocol.response_empty(304, [("etag", tag)])
            return
        if "search" in query:
            row = await self.pool.fetchrow(SEARCH, user, f"'·{user.hex[-12:]}{query['search']}':*")
        elif "status" in query:
            row = await self.pool.fetchrow(BY_DUE, user, query["status"])
        elif "cursor" in query:
            at, _, last = query["cursor"].partition(" ")
            row = await self.pool.fetchrow(NEXT, user, datetime.fromisoformat(at), UUID(last))
        else:
            row = await self.pool.fetchrow(LIST, user)
        rows, count, at, last, seq = row
        cursor = f'"{at.isoformat()} {last}"' if count > LIMIT else "null"
        has_more, shown = "true" if count > LIMIT else "false", min(count, LIMIT)
        where = f'"next_cursor":{cursor},"has_more":{has_more},"limit":{LIMIT},"total_returned":{shown}'
        answer = f'{{"data":{rows or "[]"},"pagination":{{{where}}},"meta":{{"version":"1.0"}}}}'
        protocol.response_str(200, JSON if query else [*JSON, ("etag", f'"{seq}"')], answer)

    async def create(self, user: UUID, name: str, body: dict[str, Any]) -> str:
        """A new task."""
        title, description, tags = body["title"], body.get("description", ""), body.get("tags", [])
        words, scope = indexed(title, description, user.hex[-12:]), user.hex[-12:]
        changes = json.dumps({key: [None, value] for key, value in body.items()})
        rank, tag_list = RANKS[body.get("priority", "medium")], json.dumps(tags)
        values = (title, description, rank, tag_list, datetime.now(UTC), scope, words, uuid4(), name, changes)
        return await self.pool.fetchval(CREATE, user, uuid4(), *values)

    async def update(self, user: UUID, name: str, task: UUID, body: dict[str, Any]) -> str | None:
        """A task that is due at another time, with another priority."""
        due = datetime.fromisoformat(body["due_date"])
        values = (due, RANKS[body["priority"]], datetime.now(UTC), uuid4(), name)
        return await self.pool.fetchval(UPDATE, user, task, *values)


def show(protocol: Any, status: int, task: str | None) -> None:
    """A task, or that there is none."""
    if task is None:
        protocol.response_empty(404, [])
    else:
        protocol.response_str(status, JSON, task)


def indexed(title: str, description: str, scope: str) -> str:
    """The words of plain texts, each by itself and within its scope, with their places."""
    places: dict[str, list[str]] = {}
    for place, word in enumerate(f"{title} · {description}".lower().split(), start=1):
        if word != "·":
            places.setdefault(word, []).append(str(place))
    return " ".join(f"'{word}':{','.join(at)} '·{scope}{word}':{','.join(at)}" for word, at in places.items())


async def _nothing(_: Any) -> None:
    pass


application = Application()
