"""Versions of objects and lists: entity tags, and the versions that a request expects (RFC 9110 section 13.1)."""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

from django.http import HttpRequest

import duely
from duely.api.request import ApiRequest
from duely.core.errors import FieldError, MalformedRequest, Refused, ValidationFailed
from duely.core.scopes import Owned, Scope

ANY_TAG = "*"
_TAGS = re.compile(r'\s*(?:(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"\s*(?:,\s*|$))+')
_OPAQUE = re.compile(r'"([^"]*?)(?:--?(?:gzip|deflate|br|zstd))?"')
"""An entity tag without `W/` and without the suffix of a content coding: see `_tags`."""
_VERSION = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


class Versioned(Protocol):
    """An object with a version."""

    @property
    def version(self) -> int: ...


CURRENT = {"current": {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Task", "Category")]}}
"""The current object, in the problem documents of conflicts."""


class VersionConflict(Refused):
    """`If-Match` does not name the current version. `current` holds the current object."""

    code = "version_conflict"
    status = 412
    title = "The object has changed since you read it."
    members = CURRENT

    def __init__(self, row: Any) -> None:
        super().__init__("Compare with `current`, then send the change again with the new version.")
        self.row = row


class EditConflict(Refused):
    """The same fields were changed after the `version` in the body. `current` holds the current object."""

    code = "edit_conflict"
    status = 409
    title = "Someone else has changed the same fields."
    members = CURRENT

    def __init__(self, row: Any, names: Collection[str]) -> None:
        faults = [
            FieldError(name, "edit_conflict", "This field has changed since that version.") for name in sorted(names)
        ]
        super().__init__(
            f"Changed since: {', '.join(sorted(names))}. Compare with `current`, then send it with the new version.",
            errors=faults,
        )
        self.row = row


@dataclass(frozen=True, slots=True)
class Expected:
    """The versions that a write expects. tags: those in If-Match, or None. version: that in the body."""

    tags: frozenset[int] | None = None
    version: int | None = None

    def refuse_other(self, row: Versioned) -> None:
        """Raises VersionConflict (412) unless If-Match names the version of this row, which is locked."""
        if self.tags is not None and row.version not in self.tags:
            raise VersionConflict(row)

    def missed(self, row: Versioned) -> int:
        """The number of versions after the one in the body. Raises ValidationFailed (400) for a future version."""
        if self.version is None:
            return 0
        if self.version > row.version:
            raise ValidationFailed(FieldError("version", "out_of_range", f"The newest version is {row.version}."))
        return row.version - self.version


LISTED = {"ETag": "Identifies the content of this page. Absent when the list contains objects of other users."}
"""Headers of a list's answer, for the OpenAPI document."""

NOTHING = Expected()
"""The last write wins, field by field."""


def etag(row: Versioned) -> str:
    """The strong entity tag of a row (RFC 9110 section 8.8.3)."""
    return f'"{row.version}"'


def list_etag(request: ApiRequest, scope: Scope) -> str | None:
    """The entity tag of a list of the caller's own objects. It follows from the query and the last number in their log.

    Every change of such a list adds an entry to that log. None for callers who see other users' objects, and while a
    job changes the caller's objects.
    """
    actor = request.actor
    if not isinstance(scope, Owned) or actor.seq is None:
        return None
    # The release is part of the tag, because another one may show the same objects in another form.
    parts = (duely.__version__, request.path, request.META.get("QUERY_STRING", ""), str(actor.id), str(actor.seq))
    return f'"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}"'


def has_already(request: HttpRequest, tag: str) -> bool:
    """Whether If-None-Match names this tag; weak comparison (section 13.1.2). Raises MalformedRequest (400)."""
    header = request.META.get("HTTP_IF_NONE_MATCH")
    if header is None:
        return False
    return header.strip() == ANY_TAG or tag[1:-1] in _tags(header, "If-None-Match")


def _tags(header: str, name: str) -> list[str]:
    """The entity tags of a header in the form in which Duely sent them, without quotes. Raises MalformedRequest (400).

    A proxy that compresses an answer changes its strong tag "7": nginx, HAProxy, Varnish and Cloudflare to W/"7",
    Apache and Caddy to "7-gzip" (decision 0037). Duely sends no tags of these forms, so they always mean "7".
    """
    if not _TAGS.fullmatch(header):
        raise MalformedRequest(f'{name} must hold entity tags in quotes, such as "7", or *.')
    return _OPAQUE.findall(header)


def expected(request: HttpRequest, fields: dict[str, Any] | None = None) -> Expected:
    """The versions that this request expects. Removes `version` from the fields of its body.

    Raises MalformedRequest (400) for an If-Match without valid entity tags.
    """
    version = fields.pop("version", None) if fields else None
    header = request.META.get("HTTP_IF_MATCH")
    if header is None or header.strip() == ANY_TAG:
        return Expected(None, version)
    tags = _tags(header, "If-Match")
    return Expected(frozenset(int(tag) for tag in tags if _VERSION.fullmatch(tag)), version)
