"""Retries with one effect: `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07, decision 0014).

The first answer is stored in the transaction of its effect. After a crash both exist or neither does.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import msgspec
from django.db import connection, transaction
from django.http import HttpResponse

from duely.api.answers import Answer
from duely.api.models import KeptAnswer
from duely.api.problems import problem
from duely.api.request import ApiRequest
from duely.core import clock, keys
from duely.core.errors import BodyTooLarge, FieldError, QuotaExceeded, RateLimited, Refused, ValidationFailed
from duely.core.quotas import KEPT_ANSWER_BYTES, KEPT_ANSWERS
from duely.database.statements import bulk_insert_statement, driver_values, this_connection

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEEP_TIME = timedelta(hours=24)
MAX_ANSWER_BYTES = 1024 * 1024
_KEY = re.compile(r"[!-~]{1,255}")
PATTERN = f"^{_KEY.pattern}$"
_PURPOSE = "idempotency"

SMALL_BYTES = 4 * 1024
"""Answers up to this size are stored complete."""
LONG_CHARACTERS = 256
"""Texts up to this length are stored with their answer."""
LoadTexts = Callable[[Collection[UUID]], Mapping[UUID, str]]
_long_texts: dict[str, LoadTexts] = {}


def leave_out(name: str, load: LoadTexts) -> None:
    """Do not store the long texts of this field with answers. Load them again when the answer is repeated.

    A request of 60 bytes may be answered with 60 kB that are stored elsewhere already (decision 0036). So a repeated
    answer contains the current text, even if it has changed since.
    name: a field that is never null, of objects with an `id`. load: returns the texts of objects by their ids.
    """
    _long_texts[name] = load


class KeyReused(Refused):
    """The key was used before with another operation, body or `If-Match`."""

    code = "idempotency_key_reused"
    status = 422
    title = "This Idempotency-Key was used for another request."

    def __init__(self) -> None:
        super().__init__("Use a new key for each new request, and the same key only to repeat the same request.")


class KeyInProgress(Refused):
    """The first request with this key is not finished."""

    code = "idempotency_in_progress"
    status = 409
    title = "The first request with this Idempotency-Key is still running."

    def __init__(self) -> None:
        super().__init__("Try again in a second.")


REFUSES = (KeyReused, KeyInProgress, QuotaExceeded)


def answer_once(
    request: ApiRequest,
    target: Sequence[str],
    answer: Callable[[Any], HttpResponse],
    prepare: Callable[[], Any] | None = None,
) -> HttpResponse:
    """The result of `answer`, or the stored first answer if a request with an Idempotency-Key is repeated.

    target: the operation and the ids in its path. prepare: slow work such as hashing a password; `answer` gets its
    result. It runs before the transaction, in which other writers would wait, and only if no answer is stored.
    Refusals are stored like other answers, except 429 and 5xx, because a retry may succeed.

    Raises KeyReused (422); KeyInProgress (409; on SQLite the request waits instead, because one transaction writes at a
    time); BodyTooLarge (413) for an answer that is too large to be stored; ValidationFailed (400) for a malformed key;
    QuotaExceeded (403) before anything is done, if the user has too many or too large stored answers.
    """
    key = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is None:
        return answer(prepare() if prepare else None)
    row_id = _row_id(request, key)
    prepared: Any = None
    if prepare is not None:
        stored = _stored_answer(request, row_id)
        if stored is not None:
            return _repeat(stored, _request_text(request, target))
        prepared = _prepared(prepare)
    # One transaction holds the effect and the kept answer: a crash leaves both or neither (decision 0014).
    with transaction.atomic():
        _lock(row_id)
        stored = _stored_answer(request, row_id)
        if stored is not None:
            return _repeat(stored, _request_text(request, target))
        response = _first_answer(request, answer, prepared)
        if response.status_code != RateLimited.status:
            _keep(request, row_id, _fingerprint(keys.current_key(_PURPOSE), _request_text(request, target)), response)
    return response


def purge_answers(limit: int = 1000) -> int:
    """Delete at most `limit` answers that are too old. Returns the number."""
    old = KeptAnswer.objects.filter(created_at__lte=clock.now() - KEEP_TIME).values_list("pk", flat=True)[:limit]
    return KeptAnswer.objects.filter(pk__in=list(old)).delete()[0]


def _row_id(request: ApiRequest, key: str) -> UUID:
    if not _KEY.fullmatch(key):
        message = "Use 1 to 255 visible ASCII characters, such as a UUID."
        raise ValidationFailed(FieldError(HEADER, "invalid_format", message))
    # The user is part of the id, so that two users may use the same key.
    return UUID(bytes=hashlib.sha256(f"{request.actor.user_id} {key}".encode()).digest()[:16])


def _lock(row_id: UUID) -> None:
    """Lock the key until the end of the transaction. Raises KeyInProgress (409) if another transaction holds it."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            # The upper half of the id as a signed number of 64 bits, the type of advisory locks.
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [(row_id.int >> 64) - 2**63])
            if not cursor.fetchone()[0]:
                raise KeyInProgress


def _request_text(request: ApiRequest, target: Sequence[str]) -> bytes:
    """Everything that distinguishes one request from another."""
    return msgspec.json.encode([*target, request.META.get("HTTP_IF_MATCH")]) + request.body


def _fingerprint(key: bytes, request_text: bytes) -> str:
    return hmac.digest(key, request_text, "sha256").hex()


def _stored_answer(request: ApiRequest, row_id: UUID) -> KeptAnswer | None:
    """The stored answer, or None. Raises QuotaExceeded (403) if there is none and the user's quota is reached.

    One statement does both, because each statement is a round trip.
    """
    since = (_CREATED_AT, clock.now() - KEEP_TIME)
    params = [(_USER_ID, request.actor.user_id), since, (_ID, row_id), since]
    values = driver_values(params, this_connection())
    row: Any
    [row] = KeptAnswer.objects.raw(_KEPT_AND_USED, values)  # allow: user_text_in_query because the SQL is a constant
    if row.pk is not None:
        return cast("KeptAnswer", row)
    if row.used_answers >= KEPT_ANSWERS:
        raise QuotaExceeded("kept_answers", KEPT_ANSWERS)
    if row.used_bytes >= KEPT_ANSWER_BYTES:
        raise QuotaExceeded("kept_answer_bytes", KEPT_ANSWER_BYTES)
    return None


_ID, _USER_ID, _CREATED_AT = (KeptAnswer._meta.get_field(name) for name in ("id", "user_id", "created_at"))
_KEPT_AND_USED = (
    "SELECT kept.id, kept.fingerprint, kept.status, kept.headers, kept.body, used.used_answers, used.used_bytes"
    " FROM (SELECT COUNT(*) AS used_answers, COALESCE(SUM(size), 0) AS used_bytes"
    " FROM api_kept_answer WHERE user_id = %s AND created_at > %s) AS used"
    " LEFT JOIN api_kept_answer AS kept ON kept.id = %s AND kept.created_at > %s"
)


def _prepared(prepare: Callable[[], Any]) -> Any:
    """The result of `prepare`, or its refusal, which is stored as the answer. Raises refusals that are not stored."""
    try:
        return prepare()
    except Refused as refused:
        if refused.status >= 500 or refused.status == RateLimited.status:
            raise
        return refused


def _first_answer(request: ApiRequest, answer: Callable[[Any], HttpResponse], prepared: Any) -> HttpResponse:
    """The answer, which may be a refusal. Entries that an action recorded before it refused stay, as without a key."""
    try:
        if isinstance(prepared, Refused):
            raise prepared
        return answer(prepared)
    except Refused as refused:
        # These end the transaction. The quota may have space again for a retry.
        if refused.status >= 500 or isinstance(refused, QuotaExceeded):
            raise
        return problem(refused, request)


def _keep(request: ApiRequest, row_id: UUID, fingerprint: str, response: HttpResponse) -> None:
    body = _without_long_texts(response.content)
    if len(body) > MAX_ANSWER_BYTES:
        raise BodyTooLarge(
            "The answer is too large to be kept for a retry. Change less at once, or send the request without a key."
        )
    row = KeptAnswer(
        id=row_id,
        fingerprint=fingerprint,
        status=response.status_code,
        headers=dict(response.headers),
        body=body,
        created_at=clock.now(),
        user_id=request.actor.user_id,
        size=len(body),
    )
    bulk_insert_statement([row], otherwise=_REPLACE_OLD_ANSWER).run()


_REPLACE_OLD_ANSWER = (
    "ON CONFLICT (id) DO UPDATE SET fingerprint = excluded.fingerprint, status = excluded.status,"
    " headers = excluded.headers, body = excluded.body, created_at = excluded.created_at,"
    " user_id = excluded.user_id, size = excluded.size"
)


def _repeat(stored: KeptAnswer, request_text: bytes) -> HttpResponse:
    if not any(
        hmac.compare_digest(stored.fingerprint, _fingerprint(key, request_text)) for key in keys.accepted_keys(_PURPOSE)
    ):
        raise KeyReused
    return Answer(
        _with_long_texts(bytes(stored.body)), status=stored.status, headers={**stored.headers, REPLAYED: "true"}
    )


def _without_long_texts(body: bytes) -> bytes:
    if len(body) <= SMALL_BYTES:
        return body
    content = msgspec.json.decode(body)
    for item, name in _texts(content):
        if len(item[name] or "") > LONG_CHARACTERS:
            item[name] = None
    return msgspec.json.encode(content)


def _with_long_texts(body: bytes) -> bytes:
    if b":null" not in body:
        return body
    content = msgspec.json.decode(body)
    omitted = [(item, name) for item, name in _texts(content) if item[name] is None]
    if not omitted:
        return body
    for name, load in _long_texts.items():
        items = [item for item, omitted_name in omitted if omitted_name == name]
        texts = load({UUID(item["id"]) for item in items})
        for item in items:
            item[name] = texts.get(UUID(item["id"]), "")
    return msgspec.json.encode(content)


def _texts(content: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """The objects of an answer that have a field of long texts, each with the name of that field."""
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
            for name in _long_texts:
                if name in value and "id" in value:
                    yield value, name
        elif isinstance(value, list):
            waiting.extend(value)
