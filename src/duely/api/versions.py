"""Versions of things and of lists: their entity tags, and what a request expects of them (RFC 9110 section 13.1)."""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

from django.http import HttpRequest

import duely
from duely.api.request import ApiRequest
from duely.core.errors import FieldError, MalformedRequest, Refused, ValidationFailed

ANY_TAG = "*"
_TAGS = re.compile(r'\s*(?:(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"\s*(?:,\s*|$))+')
_OPAQUE = re.compile(r'"([^"]*?)(?:--?(?:gzip|deflate|br|zstd))?"')
"""An entity tag without `W/` and without the suffix of a coding: see `_tags`."""
_VERSION = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


class Versioned(Protocol):
    """What has a version."""

    @property
    def version(self) -> int: ...


CURRENT = {"current": {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Task", "Category")]}}
"""What has a version, as it is."""


class VersionConflict(Refused):
    """`If-Match` does not name the current version. `current` holds the object as it is now."""

    code = "version_conflict"
    status = 412
    title = "The object has changed since you read it."
    members = CURRENT

    def __init__(self, row: Any) -> None:
        super().__init__("Compare with `current`, then send the change again with the new version.")
        self.row = row


class EditConflict(Refused):
    """The same fields were changed after the `version` in the body. `current` holds the object as it is now."""

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
    """What a write was made from. `tags`: the versions that If-Match names, None without; `version`: the body's."""

    tags: frozenset[int] | None = None
    version: int | None = None

    def refuse_other(self, row: Versioned) -> None:
        """Raises VersionConflict (412) unless If-Match names the version of this row, which is locked."""
        if self.tags is not None and row.version not in self.tags:
            raise VersionConflict(row)

    def missed(self, row: Versioned) -> int:
        """How many versions came after the body's. Raises ValidationFailed (400) for one that is yet to come."""
        if self.version is None:
            return 0
        if self.version > row.version:
            raise ValidationFailed(FieldError("version", "out_of_range", f"The newest version is {row.version}."))
        return row.version - self.version


LISTED = {"ETag": "Identifies the content of this page. Absent when the list contains objects of other users."}
"""Of the good answer of a list, for the document."""

NOTHING = Expected()
"""The last write wins, field by field."""


def etag(row: Versioned) -> str:
    """The strong entity tag of a row (RFC 9110 section 8.8.3)."""
    return f'"{row.version}"'


def list_etag(request: ApiRequest) -> str | None:
    """The entity tag of a list of what is the caller's: it follows from the query and the last number in their log.

    Whatever such a list shows changes with an entry there. None for those who see what is others', and
    while a job changes what is the caller's.
    """
    actor = request.actor
    if actor.sees_all or actor.seq is None:
        return None
    parts = (duely.__version__, request.path, request.META.get("QUERY_STRING", ""), str(actor.id), str(actor.seq))
    return f'"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}"'


def has_already(request: HttpRequest, tag: str) -> bool:
    """Whether If-None-Match names this tag; weak comparison (section 13.1.2). Raises MalformedRequest (400)."""
    header = request.META.get("HTTP_IF_NONE_MATCH")
    if header is None:
        return False
    return header.strip() == ANY_TAG or tag[1:-1] in _tags(header, "If-None-Match")


def _tags(header: str, name: str) -> list[str]:
    """The entity tags of a header as we sent them, without quotes. Raises MalformedRequest (400).

    A proxy that compresses an answer changes its strong tag "7": nginx, HAProxy, Varnish and Cloudflare to W/"7",
    Apache and Caddy to "7-gzip" (decision 0037). We send no such tags, so either stands for the tag that was changed.
    """
    if not _TAGS.fullmatch(header):
        raise MalformedRequest(f'{name} must hold entity tags in quotes, such as "7", or *.')
    return _OPAQUE.findall(header)


def expected(request: HttpRequest, fields: dict[str, Any] | None = None) -> Expected:
    """What this request expects; takes `version` out of the fields of its body. Raises MalformedRequest (400)."""
    version = fields.pop("version", None) if fields else None
    header = request.META.get("HTTP_IF_MATCH")
    if header is None or header.strip() == ANY_TAG:
        return Expected(None, version)
    tags = _tags(header, "If-Match")
    return Expected(frozenset(int(tag) for tag in tags if _VERSION.fullmatch(tag)), version)
