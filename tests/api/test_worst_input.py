"""The worst that a request may hold costs no more CPU than a request may cost (security.md V22).

What counts is the CPU time of the thread that answers, and on PostgreSQL that of its connection's process too: to wait
costs nothing. The measure is a loop of fixed work, run right before and after, so that a slow or busy machine changes
nothing.
"""

import gc
import io
import itertools
import json
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache, partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.hashers import check_password
from django.db import connection
from django.test import Client
from pytest_django import DjangoDbBlocker, Settings

import contract
from cast import (
    PASSWORD,
    bearer,
    for_a_module,
    hashed_password,
    new_code,
    new_token,
    person,
    refresh_token_of,
    session_of,
    undone,
)
from contract import Operation, operations

MIB = 1024 * 1024
PUBLIC_BODY = 16 * 1024
LINE = 8190
"""Bytes of a request line or a header that a server lets through."""
JSON = "application/json"

# Measuring

LOOPS = 11_000
UNITS = 200
"""So many of these loops are a budget: some 250 ms on a machine as ours."""
ATTEMPTS = 3
HOPELESS = 4
"""No noise makes so many budgets of one."""


def loop() -> float:
    """Seconds that a fixed piece of work takes just now."""
    started = time.thread_time()
    total = 0
    for number in range(LOOPS):
        total += number * number % 7
    return time.thread_time() - started


def seconds_so_far() -> float:
    """CPU time of this thread and of the process at the other end of its connection."""
    return time.thread_time() + _seconds_of_server()


def _seconds_of_server() -> float:
    if connection.vendor != "postgresql" or connection.connection is None:
        return 0.0
    running = Path(f"/proc/{connection.connection.info.backend_pid}/schedstat")
    return int(running.read_text().split()[0]) / 1e9 if running.exists() else 0.0


def seconds_of(call: Callable[[], object]) -> float:
    """CPU time of a call."""
    started = seconds_so_far()
    call()
    return seconds_so_far() - started


def budgets_of(attempt: Callable[[], float], enough: int = 1) -> float:
    """Of a few attempts, each of which says how many seconds it took, the best one in budgets."""
    best, before = float("inf"), loop()
    for _ in range(ATTEMPTS):
        used, after = attempt(), loop()
        best = min(best, used / (UNITS * (before + after) / 2))
        if not enough < best < enough * HOPELESS:
            break
        before = after
    return best


@pytest.mark.slow
def test_what_grows_with_the_square_is_over_the_budget_and_what_is_quick_is_not() -> None:
    letters = list(range(2000))

    def quick() -> None:
        assert [letters[place] for place in letters] == letters

    def square() -> None:
        assert not [1 for one in letters for other in letters if one > other and letters[one] < letters[other]]

    assert budgets_of(lambda: seconds_of(quick)) < 0.1
    assert budgets_of(lambda: seconds_of(lambda: [square() for _ in range(6)])) > 1


def test_to_wait_costs_nothing() -> None:
    assert budgets_of(lambda: seconds_of(lambda: time.sleep(0.5))) < 0.1


# Texts


def in_json(values: Any) -> bytes:
    """As short as it goes."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


MOST = 64 * 1024
"""Bytes of a description."""
WORDY = " ".join(map("".join, itertools.islice(itertools.product("abcdefghijklmnopqrstuvwxyz", repeat=4), MOST // 5)))
ESCAPED = "\x01" * MOST
"""Six times as long in JSON."""
IDEOGRAPHS = "".join(map(chr, range(0x4E00, 0x4E00 + 20_900)))
RARE = "".join(map(chr, range(0x20000, 0x20000 + MOST // 4)))
TEXTS = {
    "letters": "x",
    "digits": "9",
    "blanks": " ",
    "ligatures": "ﬃ",
    "a sign of eighteen letters": "\ufdfa",
    "sharp s": "ß",
    "pictures": "🙂",
    "dots": ".",
    "at signs": "@",
    "letters and dots": "a.",
}


def filled(sign: str, most: int) -> str:
    """So many characters of this."""
    return (sign * most)[:most]


def marks(size: int) -> str:
    """Combining characters in so many bytes, in the wrong order: a normal form of Unicode puts them right."""
    return "\u0315" * (size // 4) + "\u0300" * (size // 4)


TAGS = [filled("ﬃ", 48) + f"{number:02}" for number in range(20)]
REMINDERS = [f"-P{number + 1}D" for number in range(10)]
TITLE = filled("\u0315\u0300", 255)
FULL = {
    "title": TITLE,
    "description": WORDY,
    "priority": "high",
    "due_date": "2098-12-31",
    "tags": TAGS,
    "reminders": REMINDERS,
}
DESCRIPTIONS = {
    "different words": WORDY,
    "signs that JSON escapes": ESCAPED,
    "ideographs": IDEOGRAPHS,
    "rare ideographs": RARE,
    "combining characters": marks(MOST),
    "signs of eighteen letters": filled("\ufdfa", MOST // 3),
    "one word again and again": filled("a ", MOST),
    "pictures": filled("🙂", MOST // 4),
    "one long word": filled("ß", MOST // 2),
}
"""For tasks: each is valid."""


# The world


@dataclass
class World:
    """What there is to work with. `headers` of callers, `ids` for paths."""

    headers: dict[str, dict[str, str]]
    ids: dict[str, str]
    refresh: str
    bob: Any


TASKS = [UUID(int=0x0198C3A0_0000_7000_8000_000000000000 + number) for number in range(400)]
"""Alice's, the newest first: a hundred with many words, a hundred with signs that JSON escapes, a hundred short ones;
then a hundred in the trash."""
CATEGORY = UUID("0198c3a0-0000-7000-8000-000000010000")
INDEXED = 30
"""Of the first hundred, those that a search finds by their words: to index all of them takes half a minute."""
MANY = 101
"""One more than a page has."""


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    """Everyone and everything, once for all tests: each call is undone."""
    with for_a_module(django_db_blocker):
        made = populated()
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                # Else it plans for what other tests left: too little to need an index.
                cursor.execute("ANALYZE tasks_task, tasks_words")
        # Else it counts how much other tests have loaded: each full collection goes through all of it.
        gc.collect()
        gc.freeze()
        yield made
        gc.unfreeze()


@pytest.fixture(autouse=True)
def behind_proxies(settings: Settings) -> None:
    settings.TRUSTED_PROXIES = [ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8")]


def populated() -> World:
    from duely.accounts.models import Session
    from duely.core.clock import now
    from duely.core.ids import new_id
    from duely.guard.models import Ban
    from duely.tasks.models import Category

    alice, adam, bob = person("alice"), person("adam", role="admin"), person("bob")
    for number in range(MANY):
        person(f"admin-{number}", role="admin")
        session_of(alice)
    Category.objects.bulk_create(
        Category(
            id=UUID(int=CATEGORY.int + number),
            owner_id=alice.id,
            name=filled("ﬃ", 97) + f"{number:03}",
            name_key=filled("ffi", 291) + f"{number:03}",
            color="#000000",
            position=number,
            created_at=now(),
            updated_at=now(),
        )
        for number in range(MANY)
    )
    ban, *_ = Ban.objects.bulk_create(
        Ban(id=new_id(), network=f"2001:db8:{number:x}::/48", reason="x" * 255, created_at=now(), automatic=True)
        for number in range(MANY)
    )
    fill(alice)
    session = Session.objects.filter(user=alice).first()
    refresh = refresh_token_of(session)
    return World(
        headers={"alice": bearer(alice), "adam": bearer(adam), "bob": bearer(bob), "nobody": {}},
        ids={
            "task_id": str(TASKS[0]),
            "category_id": str(CATEGORY),
            "user_id": str(alice.id),
            "session_id": str(session.id),
            "ban_id": str(ban.id),
        },
        refresh=refresh,
        bob=bob,
    )


def store(rows: Sequence[Any]) -> None:
    """Django's own way takes a minute on PostgreSQL: it makes arrays of all the long texts."""
    from duely.database.statements import bulk_insert_statement

    for start in range(0, len(rows), 20):
        bulk_insert_statement(rows[start : start + 20]).run()


def fill(owner: Any) -> None:
    """Alice's tasks, with reminders, words and a log."""
    from duely.activity.models import Change, Counter
    from duely.core.clock import now
    from duely.core.ids import new_id
    from duely.tasks import statements
    from duely.tasks.models import Reminder, Task
    from duely.tasks.rules import placed, reminded_at

    at = now()
    made = []
    for number, task_id in enumerate(TASKS):
        day = date(2090, 1, 1) + timedelta(days=number)
        made.append(
            Task(
                id=task_id,
                owner_id=owner.id,
                title=TITLE,
                description=(WORDY, ESCAPED, "", ESCAPED)[number // 100],
                status="pending",
                priority=2,
                due_on=day,
                due_at=placed(day, "UTC"),
                category_id=CATEGORY,
                tags=TAGS,
                tag_keys=[tag.casefold() for tag in TAGS],
                reminders=REMINDERS,
                created_at=at - timedelta(seconds=number),
                updated_at=at,
                deleted_at=at if number >= 300 else None,
            )
        )
    store(made)
    Reminder.objects.bulk_create(
        Reminder(
            id=new_id(), task_id=task.id, owner_id=owner.id, text=text, remind_at=reminded_at(text, task.due_at, "UTC")
        )
        for task in made
        for text in REMINDERS
    )
    indexed = statements.index_words([made[0]])
    with connection.cursor() as cursor:
        for task in made[:INDEXED]:
            cursor.execute(
                indexed.sql, (statements.TASK_KEY.get_db_prep_save(task.id, connection), *indexed.params[1:])
            )
    for task in made[INDEXED:]:
        task.description = ""
    statements.index_words(made[INDEXED:]).run()
    store(
        [
            Change(
                id=new_id(),
                owner_id=owner.id,
                seq=number + 1,
                at=at,
                actor_id=owner.id,
                actor_name="x" * 150,
                action="task.updated",
                target_type="task",
                target_id=TASKS[0],
                target_label=TITLE,
                changes={"description": [ESCAPED, ESCAPED]},
                user_agent="x" * 255,
                request_id="x" * 128,
            )
            for number in range(MANY)
        ]
    )
    Counter.objects.create(owner_id=owner.id, seq=MANY)


# Inputs


@dataclass(frozen=True)
class Input:
    """What to send. `body`: JSON values, bytes as they are, or what makes either of the world. `status`: the answer's,
    so that it is the input that is meant."""

    about: str
    status: int | None = None
    body: Any = None
    query: str = ""
    caller: str = "alice"
    headers: Mapping[str, str] = field(default_factory=dict)
    ids: Mapping[str, str] = field(default_factory=dict)


def brackets() -> bytes:
    return b"[" * MIB


def braces() -> bytes:
    return b'{"a":' * (MIB // 5)


def deep_and_wide() -> bytes:
    """As deep as it may be, as often as it goes."""
    one = b"[" * 29 + b"]" * 29
    return b'{"a":[' + b",".join([one] * ((MIB - 8) // 59)) + b"]}"


def empty_objects() -> bytes:
    return b'{"a":[' + b",".join([b"{}"] * (MIB // 3 - 8)) + b"]}"


def many_names() -> bytes:
    return b"{" + b",".join(b'"%x":0' % number for number in range(110_000)) + b"}"


def one_name_again() -> bytes:
    return b"{" + b",".join([b'"":0'] * (MIB // 5 - 8)) + b"}"


def a_long_name_twice() -> bytes:
    name = b'"' + b"\\u0001" * 85_000 + b'":0'
    return b"{" + name + b"," + name + b"}"


def long_unknown_names() -> bytes:
    return json.dumps({filled(f"{number:03}", 1000): 0 for number in range(1000)}).encode()


def escapes(sign: bytes) -> bytes:
    return b'{"title":"' + sign * ((MIB - 16) // len(sign)) + b'"}'


def numbers(number: bytes) -> bytes:
    return b'{"title":[' + b",".join([number] * ((MIB - 16) // (len(number) + 1))) + b"]}"


RAW: dict[str, Callable[[], bytes]] = {
    "brackets": brackets,
    "braces": braces,
    "as deep as it may be": deep_and_wide,
    "empty objects": empty_objects,
    "a hundred thousand names": many_names,
    "one name again and again": one_name_again,
    "a long name twice": a_long_name_twice,
    "long unknown names": long_unknown_names,
    "escaped NULs": partial(escapes, b"\\u0000"),
    "halves of surrogate pairs": partial(escapes, b"\\ud800"),
    "bytes that are no UTF-8": partial(escapes, b"\xff"),
    "digits": partial(numbers, b"1" * (MIB - 20)),
    "long numbers": partial(numbers, b"9" * 4300),
    "numbers out of range": partial(numbers, b"1e400"),
    "huge exponents": partial(numbers, b"-1e-99999999999999999999"),
    "a long fraction": partial(numbers, b"0." + b"3" * (MIB - 20)),
    "blanks": lambda: b" " * (MIB - 2) + b"[]",
}
"""Bodies of a megabyte that no operation takes."""
FIELDS: dict[str, Callable[[int], Any]] = {
    **{about: partial(filled, sign) for about, sign in TEXTS.items()},
    "lists of numbers": lambda most: [0] * (most // 3),
    "lists of lists": lambda most: [[]] * (most // 4),
    "lists of texts": lambda most: ["a"] * (most // 5),
    "an instant with a long fraction": lambda most: "2026-01-31T09:00:00." + "1" * most,
    "an offset of many digits": lambda most: "-PT" + "1" * most + "M",
}
"""What to put into each field of a body, by the bytes that there are."""


@cache
def raw(about: str) -> bytes:
    return RAW[about]()


def names_of_fields(operation: Operation) -> Sequence[str]:
    schema = operation.spec["requestBody"]["content"][JSON]["schema"]
    name = schema.get("$ref", "").rpartition("/")[2]
    return list(contract.document()["components"]["schemas"][name]["properties"])


def in_each_field(operation: Operation, about: str) -> bytes:
    """A body of a megabyte."""
    names = names_of_fields(operation)
    most = (MIB - 64 * len(names)) // len(names)
    sign = TEXTS.get(about, "x")
    values = FIELDS[about](most * len(sign) // len(sign.encode()))
    return in_json(dict.fromkeys(names, values))


TAG_LIST = ", ".join([f'"{number}"' for number in range(2000)])
LONG_HEADERS = {
    "If-None-Match": TAG_LIST,
    "If-Match": TAG_LIST,
    "Idempotency-Key": "~" * 255,
    "Accept": filled("text/html;q=0.1, */*, ", LINE),
    "Accept-Language": filled("de-DE;q=0.1, ", LINE),
    "Accept-Encoding": filled("gzip;q=0.1, ", LINE),
    "User-Agent": filled("\xff(;", LINE),
    "X-Forwarded-For": ", ".join(["10.255.255.255"] * 1000),
    "X-Request-ID": "x" * LINE,
    "Referer": "https://" + "x" * LINE,
    "Cookie": filled("a=b; ", LINE),
    "Origin": "https://" + "x" * LINE,
}
PARTS = {
    "garbage": "QUJD" * (LINE // 4),
    "three long parts": ".".join(["e30x" * (LINE // 12)] * 3),
    "brackets in it": "W1tb" * 200 + ".W1tb.W1tb",
    "dots": "." * 1000,
}


def of_any(operation: Operation) -> Iterator[Input]:
    """What every operation may be sent."""
    caller = CALLERS.get(operation.name, "alice")
    body = b"{}" if "requestBody" in operation.spec else None
    yield Input("long headers", body=body, caller=caller, headers=LONG_HEADERS)
    for about, token in PARTS.items():
        yield Input(f"a token with {about}", body=body, caller="nobody", headers={"Authorization": f"Bearer {token}"})
    many = "&".join(f"p{number}=1" for number in range(1000))[:LINE]
    yield Input("many parameters", 400, body=body, query=many, caller=caller)
    yield Input("a long parameter", 400, body=body, query="x=" + "%01" * (LINE // 3), caller=caller)
    if "{" in operation.path:
        longest = dict.fromkeys(("task_id", "category_id", "user_id", "session_id", "ban_id"), "0" * LINE)
        yield Input("a long path", 404, body=body, caller=caller, ids=longest)
    if "requestBody" in operation.spec and operation.name not in BY_SIZE:
        for about in RAW if operation.name in READERS else ():
            yield Input(about, 400, body=lambda _, about=about: raw(about), caller=caller)
        for about in FIELDS if operation.name in READERS else FIELDS.keys() - LISTS:
            yield Input(f"fields: {about}", body=lambda _, about=about: in_each_field(operation, about), caller=caller)
    if any(item["name"] == "cursor" for item in operation.spec.get("parameters", [])):
        yield Input("all parameters", 200, query=all_parameters(operation), caller=caller)
        yield Input("a long cursor", 400, query="cursor=" + "A" * 8000, caller=caller)
        names = [item["name"] for item in operation.spec["parameters"] if item["in"] == "query"]
        for sign in ("9", "-", ",", "%EF%AC%83"):
            long = sign * (LINE // len(names) // len(sign))
            yield Input(f"long values: {sign}", 400, query="&".join(f"{name}={long}" for name in names), caller=caller)


def all_parameters(operation: Operation) -> str:
    """Every parameter of a list, with as many values as it takes, and nothing that it refuses."""
    parts = ["limit=100"]
    for item in operation.spec["parameters"]:
        name, schema = item["name"], item["schema"]
        if item["in"] != "query" or name in {"limit", "cursor", "page", "page_size", "ordering", "fields", "network"}:
            continue
        one = contract.resolved(schema.get("items", schema))
        most = 50 if "uuid" not in str(one) else 3
        values = one.get("enum") or [_value(one, number) for number in range(most)]
        if schema.get("type") == "array":
            parts.append(f"{name}={','.join((values * most)[:most])}")
        else:
            parts.append(f"{name}={values[0]}")
    return "&".join(parts)


def _value(schema: Mapping[str, Any], number: int) -> str:
    kinds = [schema, *schema.get("anyOf", [])]
    formats = {kind.get("format") for kind in kinds}
    if "uuid" in formats:
        return str(TASKS[number])
    if formats & {"date", "date-time"}:
        return "2026-01-31T09:00:00.000%2B23:59"
    if schema.get("type") == "boolean":
        return "true"
    return "0" if schema.get("type") == "integer" else f"a{number}"


CALLERS = {
    **dict.fromkeys(("listUsers", "updateUser", "listBans", "createBan", "getBan", "updateBan", "liftBan"), "adam"),
    "exportAll": "bob",
}
"""Who asks, when it is not Alice."""
READERS = {"updateTask", "changeTasks"}
"""All operations read their bodies alike, or as the second of these. What is refused before anything asks for fields is
tried with these alone, as is what costs much to read."""
LISTS = {"lists of lists", "lists of numbers", "lists of texts"}
BY_SIZE = {"importFile"}
"""Its files are measured by how the cost grows."""


def operations_of(*each: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"operations": list(each), **more}


def created(**fields: Any) -> dict[str, Any]:
    return {"op": "create", "title": TITLE, "tags": TAGS, "reminders": REMINDERS, **fields}


def updated(number: int, **fields: Any) -> dict[str, Any]:
    return {"op": "update", "id": str(TASKS[number]), **fields}


LONG_EMAIL = f"{'x' * 64}@{'y' * 63}.{'y' * 63}.{'y' * 55}.org"
NESTED_EMAIL = "a." * 125 + "@b.c"
LONG_PASSWORD = filled("\U0001f642\u0315\u0300", 512)
NEW_PASSWORD = filled("correct horse battery staple ", 512)
NETWORKS = (
    "fe80::1%" + "z" * 5000,
    "::ffff:" + "1." * 5000,
    ":" * 49,
    "1:" * 24,
    "2001:db8::" + "/" * 39,
    "0" * 45 + "/128",
    "9" * 1000,
    filled("\ufdfa", 1000),
)
ZONES = ("../" * 5000 + "etc/passwd", "Europe/" + "\x00" * 5000, "UTC" + "+1" * 5000, filled("Etc/GMT+0", 100_000))
DATES = (
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59.999-23:59",
    "0001-01-01",
    "9999-12-31",
    "2026-" * 200_000,
    "2026-01-31T09:00:00." + "9" * 900_000 + "!",
)
OFFSETS = ("-P9999W", "-PT99999H", "-P" + "1" * 900_000 + "D", "-PT" * 300_000, "0001-01-01T00:00:00+23:59")
QUICK = (
    *("9", "#", "@", "!", "every ", "tomorrow ", "9am ", "sat ", "sat 9am ", "sun, ", "in 1 ", "at 9 ", "1:1", "on "),
    *("by on ", "next ", "1.", "9 a", "the 1st ", "1 may ", "may ", "may 1 ", "1st of ", "2026-01-31 ", "in half an "),
    *("#a ", "# #a", "@a ", "@a@", "!high ", ", ", "; ", "/", "a ", "this morning ", "day after ", "end of the month "),
    *("\t", "\u2003", "\u0661\u0661:", "\u0315\u0300", "ﬃ ", "\U0001f642", "'", "\u2019", "9am sat ", "sat\u3000"),
    *("10:30 ", "fri 4 dec ", "friday evening at 7 ", "in the morning ", "tomorrow 9am ", "(friday) ", "a@", "://"),
    *("\u201e", "\u201c", "\u00ab", '"a" ', "9.30am ", "friday the 4th ", "due by on ", ".!?", "mañana ", "@9am "),
)
SEARCHES = {
    "words of one letter": " ".join("abcdefghijklmnop"),
    "beginnings": " ".join(f"a{letter}" for letter in "abcdefghijklmnop"),
    "what is in all but few": " ".join(f"-q{number}" for number in range(15)) + " a",
    "what is nowhere": " ".join(f"-q{number}" for number in range(15)) + " -a*",
    "phrases": " ".join(f'"a{letter}aa a{letter}ab"' for letter in "abcdefghijklmno"),
    "what is at the end of many": " ".join(WORDY.split()[-16:]),
    "a long phrase": '"' + WORDY[:250] + '"',
    "a phrase that ends badly": '"' + WORDY[:240] + ' zzzz"',
    "quotes": '"' * 255,
    "minuses": "-" * 255,
    "a long word": "a" * 255,
    "a long word that is bare of letters": "." * 254 + "a",
    "signs of eighteen letters": "\ufdfa" * 255,
    "combining characters": "\u0315\u0300" * 127,
    "stars": "a*" * 127,
    "many words in one": "a." * 127,
}


def searches() -> Iterator[Input]:
    from urllib.parse import quote

    for about, text in SEARCHES.items():
        yield Input(f"search for {about}", query=f"search={quote(text)}")
        yield Input(f"a numbered page of {about}", query=f"search={quote(text)}&page=1", caller="adam")
    yield Input("search for a thousand letters", 400, query="search=" + "a" * 1000)
    yield Input("search for too many words", 400, query="search=" + "+".join(f"a{n}" for n in range(60)))


def pages(*orderings: str) -> Iterator[Input]:
    for ordering in orderings:
        yield Input(f"a full page by {ordering}", 200, query=f"limit=100&ordering={ordering}")
    yield Input("a full page of some fields", 200, query="limit=100&fields=id,description,title,tags,reminders")


def full(about: str, status: int, **more: Any) -> Iterator[Input]:
    yield Input(f"{about}: everything at its most", status, {**FULL, **more})
    for what, text in DESCRIPTIONS.items():
        if status == 201 or what != "combining characters":
            yield Input(f"{about}: {what}", status, {"title": "x", **more, "description": text})
    for due in DATES:
        yield Input(f"{about}: due {due[:30]}", 400, {"title": "x", **more, "due_date": due})
    for offset in OFFSETS:
        yield Input(f"{about}: reminder {offset[:10]}", 400, {"title": "x", **more, "reminders": [offset]})
    yield Input(f"{about}: tags", 400, {"title": "x", **more, "tags": [filled("ﬃ", 50)] * 21})


def many_changes() -> Iterator[Input]:
    size = MIB // 101
    yield Input("creations at their most", 200, operations_of(*[created(description=WORDY[: size - 4000])] * 100))
    for about in ("different words", "signs of eighteen letters", "pictures", "combining characters"):
        most = (MIB - 4096) // len(in_json(DESCRIPTIONS[about]))
        body = operations_of(*[created(title="x", tags=[], reminders=[], description=DESCRIPTIONS[about])] * most)
        yield Input(f"creations: {about}", 200, body)
    for about, first in (("words", 0), ("escapes", 100), ("short ones", 200)):
        ids = range(first, first + 100)
        titles = [updated(number, title="x") for number in ids]
        yield Input(f"new titles: {about}", 200 if about == "short ones" else 400, operations_of(*titles))
        if about == "words":
            yield Input("new titles: as many as go", 200, operations_of(*titles[:16]))
        priorities = [updated(number, priority="low") for number in ids]
        again = [updated(first, title=f"{number}") for number in range(100)]
        for named, edits in (("priorities", priorities), ("one title again and again", again)):
            # One answer holds sixteen of the longest descriptions.
            most = 100 if about == "short ones" else 16
            yield Input(f"{named}: {about}", 200, operations_of(*edits[:most]))
            if about != "short ones":
                yield Input(f"{named}: too many {about}", 400, operations_of(*edits))
        stale = [updated(first, title="y"), *[updated(first, title="x", version=1) for _ in range(99)]]
        yield Input(f"stale: {about}", 200, operations_of(*stale))
    dates = [updated(number, due_date="2099-12-31", reminders=["-P8D", *REMINDERS[1:]]) for number in range(200, 300)]
    yield Input("new dates and reminders", 200, operations_of(*dates))
    yield Input("deletions", 200, operations_of(*[{"op": "delete", "id": str(task)} for task in TASKS[:100]]))
    unknown = {f"x{number}" * 50: [] for number in range(17)}
    yield Input("unknown fields", 422, operations_of(*[{"op": "create", **unknown}] * 100, atomic=True))
    yield Input("too many", 400, operations_of(*[{}] * 1000))


def code_of(purpose: str) -> Callable[[World], Any]:
    return lambda _: {"email": "alice@example.org", "code": new_code("alice@example.org", purpose)}


def reset(password: str) -> Callable[[World], Any]:
    from duely.accounts.models import User

    def body(_: World) -> Any:
        return {"reset_token": new_token(User.objects.get(username="alice"), "reset_token"), "new_password": password}

    return body


LONG_TOKEN = {"token": "dlc_" + "A" * 251}
NOTHING: tuple[Input, ...] = ()
"""There is nothing to choose but what every operation takes."""
WORST: dict[str, Sequence[Input]] = {
    "signUp": (
        Input("all at its most", 201, {"username": "x" * 150, "email": LONG_EMAIL, "password": NEW_PASSWORD}),
        Input("a name of ligatures", 201, {"username": "ﬃ" * 50, "email": LONG_EMAIL, "password": LONG_PASSWORD}),
        Input("a password like the name", body={"username": "ab" * 75, "email": LONG_EMAIL, "password": "ba" * 256}),
        Input("a long name of combining characters", 400, {"username": marks(PUBLIC_BODY - 1000)}),
    ),
    "logIn": (
        Input("all at its most", 401, {"username": "\ufdfa" * 254, "password": LONG_PASSWORD}),
        Input("combining characters", 401, {"email": "\u0315\u0300" * 127, "password": "\x00" * 512}),
        Input("the right ones", 200, {"email": "alice@example.org", "password": PASSWORD}),
    ),
    "requestCode": (
        Input("a long address", 200, {"email": LONG_EMAIL}),
        Input("a long local part", body={"email": NESTED_EMAIL}),
        Input("many at signs", 400, {"email": "@" * 254}),
        Input("hyphens", 400, {"email": "a@" + "a-" * 126}),
        Input("backslashes", 400, {"email": "\\" * 250 + "@b.c"}),
    ),
    "logInWithCode": (
        Input("the right one", 200, code_of("sign_in")),
        Input("a long code", 400, {"email": LONG_EMAIL, "code": "\u0661" * 32}),
    ),
    "verifyEmail": (Input("a long token", 400, LONG_TOKEN),),
    "resendVerification": NOTHING,
    "changeEmail": (Input("all at its most", 400, {"email": LONG_EMAIL, "current_password": LONG_PASSWORD}),),
    "forgotPassword": (Input("a long address", 200, {"email": LONG_EMAIL}),),
    "verifyResetCode": (Input("the right one", 200, code_of("reset")),),
    "resetPassword": (
        Input("a long password", 200, reset(NEW_PASSWORD)),
        Input("a long password of signs", 200, reset(LONG_PASSWORD)),
    ),
    "refreshToken": (
        Input("the right one", 200, lambda world: {"refresh": world.refresh}),
        Input("a long token", 401, {"refresh": "dlr_" + "A" * 251}),
    ),
    "logOut": (Input("the right one", 204, lambda world: {"refresh": world.refresh}),),
    "logOutEverywhere": (Input("a hundred sessions", 204),),
    "listSessions": (Input("a full page", 200, query="limit=100"),),
    "endSession": (Input("a session", 204),),
    "changePassword": (
        Input("long ones", 400, {"current_password": LONG_PASSWORD, "new_password": NEW_PASSWORD}),
        Input("the right one", 204, {"current_password": PASSWORD, "new_password": LONG_PASSWORD}),
    ),
    "getProfile": NOTHING,
    "replaceProfile": (
        Input("all at its most", 200, {"display_name": "\u0315\u0300" * 75, "bio": "\x01" * 2000, "time_zone": "UTC"}),
    ),
    "updateProfile": (
        Input("another time zone", 200, {"time_zone": "America/Los_Angeles"}),
        *(Input(f"time zone {zone[:10]}", 400, {"time_zone": zone}) for zone in ZONES),
        Input("a long language tag", 400, {"locale": "de" + "-12345678" * 100_000}),
    ),
    "getMe": NOTHING,
    "listUsers": (
        Input("a full page", 200, query="limit=100&ordering=email", caller="adam"),
        Input("search", 200, query="limit=100&search=" + "%EF%B7%BA" * 255, caller="adam"),
    ),
    "getUser": NOTHING,
    "updateUser": (Input("among a hundred admins", 200, {"role": "admin", "is_active": False}, caller="adam"),),
    "listActivityLogs": (
        Input("a full page of long changes", 200, query="limit=100"),
        Input("a full page of long changes for an admin", 200, query="limit=100&ordering=seq", caller="adam"),
        Input("some fields", 200, query="limit=100&fields=id,seq"),
    ),
    "listBans": (
        Input("a full page", 200, query="limit=100&ordering=until", caller="adam"),
        *(
            Input(f"network {network[:10]}", 400, query=f"network={network[:LINE]}", caller="adam")
            for network in NETWORKS
            if network.isascii() and "%" not in network
        ),
    ),
    "createBan": (
        Input("a network", 201, {"network": "2001:db8:ffff::/48", "reason": "\u0315\u0300" * 100}, caller="adam"),
        *(Input(f"network {network[:10]}", 400, {"network": network}, caller="adam") for network in NETWORKS),
        Input("an end", 400, {"network": "203.0.113.7", "until": DATES[4]}, caller="adam"),
    ),
    "getBan": (Input("a ban", 200, caller="adam"),),
    "updateBan": (Input("a reason", 200, {"reason": "\u0315\u0300" * 100, "until": None}, caller="adam"),),
    "liftBan": (Input("a ban", 204, caller="adam"),),
    "listTasks": (
        *pages("created_at", "-created_at", "title", "-due_date,priority,status,title"),
        Input(
            "a full page of short ones' tags", 200, query="limit=100&tag=" + ",".join(["%EF%AC%83" * 48 + "00"] * 12)
        ),
        Input("everyone's", 200, query="limit=100&ordering=created_at", caller="adam"),
        Input("the last page", 200, query="page=100&page_size=100&ordering=title"),
        *searches(),
    ),
    "createTask": (*full("new", 201), Input("for another", 403, {**FULL, "owner": str(TASKS[0])})),
    "deleteAllTasks": (Input("three hundred", 200, query="confirm=true"),),
    "emptyTrash": (Input("a full one", 200, query="confirm=true"),),
    "changeTasks": tuple(many_changes()),
    "createQuickTask": (
        *(Input(f"{sign!r}", body={"text": filled(sign, 1000), "preview": True}) for sign in QUICK),
        *(Input(f"{sign!r} and x", body={"text": filled(sign, 999) + "x", "preview": True}) for sign in QUICK),
    ),
    "listTrash": tuple(pages("deleted_at", "-title")),
    "getTaskStats": (Input("three hundred", 200),),
    "restoreTask": (Input("a long one", 200, ids={"task_id": str(TASKS[300])}),),
    "getTask": (Input("words", 200), Input("escapes", 200, ids={"task_id": str(TASKS[100])})),
    "replaceTask": tuple(full("replaced", 200)),
    "updateTask": tuple(full("changed", 200, version=1)),
    "deleteTask": (Input("a long one", 204),),
    "listCategories": (Input("a full page", 200, query="limit=100&ordering=-name"),),
    "createCategory": (
        Input("a name of ligatures", 201, {"name": "ﬃ" * 100, "color": "#ABCDEF"}),
        Input("a long color", 400, {"name": "x", "color": "#" + "İ" * 500_000}),
    ),
    "getCategory": (Input("three hundred tasks", 200),),
    "replaceCategory": (Input("a name of combining characters", 200, {"name": "\u0315\u0300" * 50}),),
    "updateCategory": (Input("a name of ligatures", 200, {"name": "ﬃ" * 100}),),
    "deleteCategory": (Input("three hundred tasks", 204),),
    "exportAll": (
        Input("an unknown format", 400, query="format=" + "x" * LINE),
        Input("formats", 400, query="&".join(["format=csv"] * 700)),
    ),
    "importFile": NOTHING,
}
"""What is worst for each operation, beside what each of its kind takes."""


# Asking


def sent_by(method: str, path: str, content: bytes, media: str, headers: Mapping[str, str]) -> tuple[float, Any]:
    """CPU seconds of a request and its answer, and the answer."""
    client = Client()
    started = seconds_so_far()
    response = client.generic(method, path, content, media, headers=headers)
    contract.content_of(response)
    return seconds_so_far() - started, response


def answered(world: World, operation: Operation, sent: Input) -> tuple[float, Any]:
    """As `sent_by`; nothing of it stays."""
    path = operation.path.format(**{**world.ids, **sent.ids}) + (f"?{sent.query}" if sent.query else "")
    headers = {**world.headers[sent.caller], **sent.headers}
    with undone():
        body = sent.body(world) if callable(sent.body) else sent.body
        content = body if isinstance(body, bytes) else b"" if body is None else in_json(body)
        assert len(content) <= MIB
        return sent_by(operation.method, path, content, JSON, headers)


MORE: dict[str, dict[str, int]] = {
    "changeTasks": {
        **dict.fromkeys(("creations at their most", "creations: different words", "new titles: as many as go"), 24),
        "creations: signs of eighteen letters": 8,
        "creations: pictures": 3,
        **dict.fromkeys(("priorities: words", "priorities: escapes", "new dates and reminders"), 2),
        **dict.fromkeys(("one title again and again: words", "one title again and again: escapes"), 2),
        **dict.fromkeys(("stale: words", "stale: escapes", "a hundred thousand names"), 2),
    },
    "createTask": {"new: everything at its most": 2, "new: ideographs": 2, "new: rare ideographs": 2},
    "listActivityLogs": {
        "a full page of long changes": 4,
        "a full page of long changes for an admin": 4,
        "long headers": 2,
    },
    "listTasks": {
        "search for what is nowhere": 2,
        "search for what is in all but few": 2,
        "search for what is at the end of many": 2,
        "a numbered page of what is nowhere": 2,
    },
    "listTrash": {"a full page by deleted_at": 2, "a full page by -title": 2, "a full page of some fields": 2},
    "replaceTask": {"replaced: ideographs": 2, "replaced: rare ideographs": 2, "replaced: different words": 2},
    "updateProfile": {"another time zone": 3},
    "updateTask": {"changed: ideographs": 2, "changed: rare ideographs": 2, "changed: different words": 2},
}
"""What costs more, in budgets, of which the database has most: it is as much work as there is text to index, a page to
show, or reminders to move. Twice as much as measured, so that only what grows otherwise is over it."""


def test_every_operation_has_a_worst_input() -> None:
    assert WORST.keys() == {operation.name for operation in operations()}
    about = {name: {sent.about for sent in inputs} for name, inputs in WORST.items()}
    about |= {one.name: about[one.name] | {sent.about for sent in of_any(one)} for one in operations()}
    assert not {name: more.keys() - about[name] for name, more in MORE.items() if more.keys() - about[name]}


@pytest.mark.slow
@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.name)
def test_the_worst_input_stays_within_the_budget(operation: Operation, world: World) -> None:
    over, others = {}, {}
    for sent in (*WORST[operation.name], *of_any(operation)):
        statuses = set()

        def attempt(sent: Input = sent, statuses: set[int] = statuses) -> float:
            used, answer = answered(world, operation, sent)
            statuses.add(answer.status_code)
            return used

        ceiling = MORE.get(operation.name, {}).get(sent.about, 1)
        budgets = budgets_of(attempt, ceiling)
        if budgets > ceiling:
            over[sent.about] = round(budgets, 1)
        if statuses != {sent.status} if sent.status else max(statuses) >= 500:
            others[sent.about] = statuses
    assert not others
    assert not over, "so many budgets"


PATHS = (
    *(("GET", f"/unsubscribe/{'A' * LINE}/"), ("POST", f"/unsubscribe/{'.' * LINE}/"), ("GET", "/" + "/" * LINE)),
    *(("GET", "/api/" + "/" * LINE), ("GET", "/api/v1/" + "tasks/" * 1300), ("GET", "/api/v1/tasks/" + "-" * LINE)),
    *(("GET", "/static/" + "../" * 2700), ("GET", "/admin/" + "a/" * 4000), ("GET", "/verify-email/?" + "a&" * 4000)),
    *(
        ("GET", "/api/v1/schema/"),
        ("GET", "/api/v1/schema/?format=yaml"),
        ("GET", "/api/v1/docs/"),
        ("GET", "/api/v1/"),
        ("GET", "/readyz"),
    ),
    *(("OPTIONS", "/api/v1/tasks/"), ("TRACE", "/api/v1/tasks/"), ("X" * LINE, "/api/v1/tasks/")),
)


@pytest.mark.parametrize("method, path", PATHS, ids=lambda value: value[:20])
def test_no_path_costs_more_than_a_budget(method: str, path: str, world: World) -> None:
    def attempt() -> float:
        with undone():
            used, answer = sent_by(method, path, b"", JSON, {**LONG_HEADERS, "Access-Control-Request-Method": "PUT"})
        assert answer.status_code < 500
        return used

    attempt()  # some documents are made at the first request, and kept
    assert budgets_of(attempt) < 1


# Passwords: hashed by a thread of its own

HASHES = {"signUp": 1, "logIn": 1, "changeEmail": 1, "changePassword": 2, "resetPassword": 2}


@pytest.mark.parametrize("name", HASHES)
def test_a_long_password_costs_no_more_than_its_hashes(name: str, world: World) -> None:
    operation = next(one for one in operations() if one.name == name)

    def of_others(call: Callable[[], object]) -> float:
        started = time.process_time() - time.thread_time()
        call()
        return time.process_time() - time.thread_time() - started

    for sent in WORST[name]:
        for _ in range(ATTEMPTS):
            one = of_others(lambda: check_password("x", hashed_password()))
            if of_others(lambda sent=sent: answered(world, operation, sent)) < (HASHES[name] + 0.8) * one:  # type: ignore[misc]
                break
        else:
            pytest.fail(f"{sent.about} costs more than {HASHES[name]} hashes")


# Files: twice the size, twice the cost


def grows_evenly(cost: Callable[[int], float]) -> bool:
    """Whether two of something cost no more than three times what one costs, the best of a few attempts each."""
    once = twice = float("inf")
    for _ in range(2 * ATTEMPTS):
        once = min(once, cost(1))
        twice = min(twice, cost(2))
        once = min(once, cost(1))  # again: else one slow moment makes once as dear as twice
        if twice <= 2.2 * once:
            return True
    return twice <= 3 * once + UNITS / 20 * loop()


@pytest.mark.slow
def test_what_grows_with_the_square_does_not_grow_evenly() -> None:
    def square(size: int) -> float:
        numbers = range(2000 * size)
        return seconds_of(lambda: [0 for one in numbers for other in numbers if one + other < 0])

    assert not grows_evenly(square)
    assert grows_evenly(lambda size: seconds_of(lambda: sum(range(100_000 * size))))


def rows_of_ours(size: int, **more: Any) -> bytes:
    tasks = [{"id": str(UUID(int=TASKS[0].int + 10_000 + row)), "title": "x", **more} for row in range(size)]
    return in_json({"format": "duely", "version": 1, "tasks": tasks})


def categories_of_ours(size: int) -> bytes:
    rows = [{"id": str(UUID(int=CATEGORY.int + 10_000 + row)), "name": f"{row}"} for row in range(size)]
    return in_json({"format": "duely", "version": 1, "categories": rows})


def archive(size: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("x.csv", b"TYPE,CONTENT,PRIORITY\n" + b"task,x,1\n" * size)
    return file.getvalue()


CSV = "text/csv"
ZIP = "application/zip"
FILES: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "tasks": (JSON, lambda times: rows_of_ours(600 * times)),
    "long tasks": (JSON, lambda times: rows_of_ours(4 * times, description=WORDY, tags=TAGS, reminders=REMINDERS)),
    "faulty tasks": (JSON, lambda times: rows_of_ours(600 * times, x={})),
    "categories": (JSON, lambda times: categories_of_ours(500 * times)),
    "what is left out": (JSON, lambda times: b'{"x":[' + b"{}," * (20_000 * times) + b"0]}"),
    "one long value": (JSON, lambda times: b'{"x":"' + b"x" * (500_000 * times) + b'"}'),
    "many blanks": (JSON, lambda times: b'{"x":' + b" " * (500_000 * times) + b"1}"),
    "brackets": (JSON, lambda times: b'{"x":' + b"[" * (500_000 * times)),
    "digits": (JSON, lambda times: b'{"x":' + b"1" * (500_000 * times)),
    "names": (JSON, lambda times: b"{" + b'"x":0,' * (20_000 * times) + b'"y":0}'),
    "lists": (JSON, lambda times: b"[" + b'{"title":"x","tasks":[{"title":"y"}]},' * (40 * times) + b"{}]"),
    "a table": (CSV, lambda times: b"title,due,tags\n" + b"x,2026-01-31,a b\n" * (200 * times)),
    "a table of bad dates": (CSV, lambda times: b"title,due\n" + b"x,1/1/1\n" * (300 * times)),
    "a long cell": (CSV, lambda times: b'title,description\nx,"' + b"x\n" * (200_000 * times) + b'"\n'),
    "quotes": (CSV, lambda times: b"title\n" + b'"' * (300_000 * times)),
    "commas": (CSV, lambda times: b"title" + b"," * (100_000 * times) + b"\nx\n"),
    "an archive": (ZIP, lambda times: archive(300 * times)),
    "ends of archives": (ZIP, lambda times: b"PK\x05\x06" * (5_000 * times)),
}
"""What may be sent as a file, and twice as much."""


@pytest.mark.slow
@pytest.mark.parametrize("about", FILES)
def test_a_file_of_twice_the_size_costs_twice_as_much(about: str, world: World) -> None:
    media, content = FILES[about]

    def cost(times: int) -> float:
        with undone():
            used, answer = sent_by("POST", "/api/v1/import/", content(times), media, world.headers["bob"])
        assert answer.status_code in {200, 400, 413}, answer.content
        return used

    assert grows_evenly(cost)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["json", "csv"])
def test_an_export_of_twice_as_much_costs_twice_as_much(kind: str, world: World) -> None:
    def cost(times: int) -> float:
        with undone():
            _, answer = sent_by("POST", "/api/v1/import/", rows_of_ours(300 * times), JSON, world.headers["bob"])
            assert answer.status_code == 200
            used, answer = sent_by("GET", f"/api/v1/export/?format={kind}", b"", JSON, world.headers["bob"])
        assert answer.status_code == 200
        return used

    assert grows_evenly(cost)
