"""The documents of the API: its index, the OpenAPI document and Swagger UI."""

import gzip
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, wraps
from threading import Lock
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from dmr.routing import Router

import duely
from duely.api import openapi
from duely.api.security import limit_public
from duely.api.versions import has_already
from duely.core.errors import MethodNotAllowed

V1 = "/api/v1/"
SAFE = ("GET", "HEAD")


def _read_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    @wraps(view)
    def checked(*args: Any) -> HttpResponse:
        if args[-1].method not in SAFE:
            raise MethodNotAllowed("Allowed here: GET, HEAD.", headers={"Allow": ", ".join(SAFE)})
        return view(*args)

    return checked


@_read_only
def index(request: HttpRequest) -> HttpResponse:
    """The index of the API: name, version and links."""
    return JsonResponse(
        {
            "name": "Duely",
            "version": duely.__version__,
            "status": "ok",
            "links": {
                "docs": V1 + "docs/",
                "schema": V1 + "schema/",
                "tasks": V1 + "tasks/",
                "categories": V1 + "categories/",
                "activity_logs": V1 + "activity-logs/",
                "profile": V1 + "profile/",
            },
        }
    )


@dataclass(frozen=True, slots=True)
class Page:
    """A document that each process makes once, with its compressed form and entity tag."""

    content: bytes
    compressed: bytes
    tag: str
    media: str

    @classmethod
    def of(cls, content: bytes, media: str) -> "Page":
        """A page from its content. It is compressed once, not for each request."""
        tag = hashlib.sha256(content).hexdigest()[:32]
        # Without a time, every process sends the same bytes.
        return cls(content, gzip.compress(content, mtime=0), f'"{tag}"', media)

    def answer(self, request: HttpRequest) -> HttpResponse:
        """The page, or 304 if the client has it. Counts towards the limit of calls without a sign-in.

        Raises RateLimited (429).
        """
        # A weak tag, because it is the same for both codings.
        headers = {"ETag": f"W/{self.tag}", "Cache-Control": "no-cache", "Vary": "Accept, Accept-Encoding"}
        if has_already(request, self.tag):
            return HttpResponse(status=304, headers=headers)
        limit_public()(request, ANONYMOUS)
        if takes_gzip(request.META.get("HTTP_ACCEPT_ENCODING", "")):
            return HttpResponse(
                self.compressed, content_type=self.media, headers={**headers, "Content-Encoding": "gzip"}
            )
        return HttpResponse(self.content, content_type=self.media, headers=headers)


ANONYMOUS = "anonymous"
"""The scope of limits for calls without a sign-in."""


def takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header allows gzip (RFC 9110 section 12.5.3)."""
    for item in accepted.lower().split(","):
        coding, _, weight = item.partition(";")
        if coding.strip() == "gzip":
            return not _NO_WEIGHT.fullmatch(weight.strip())
    return False


_NO_WEIGHT = re.compile(r"q=0(\.0{0,3})?")


class Document:
    """The OpenAPI document of a router and Swagger UI. Each is made at its first request and cached."""

    def __init__(self, router: Router, aliases: Sequence[tuple[str, str]]) -> None:
        self._router = router
        self._aliases = aliases
        self._lock = Lock()

    @cached_property
    def content(self) -> dict[str, Any]:
        """The document as plain JSON values."""
        aliases: dict[str, list[str]] = {}
        for alias, canonical in self._aliases:
            aliases.setdefault(f"/{self._router.prefix}{canonical}", []).append(f"/{self._router.prefix}{alias}")
        return openapi.build(self._router, aliases)

    @cached_property
    def as_json(self) -> Page:
        """The document as JSON."""
        return Page.of(json.dumps(self.content).encode(), "application/json")

    @cached_property
    def as_yaml(self) -> Page:
        """The document as YAML. It takes a second to make."""
        import yaml  # rarely needed, and a fiftieth of the time to start

        return Page.of(yaml.safe_dump(self.content, sort_keys=False, allow_unicode=True).encode(), "application/yaml")

    @cached_property
    def as_page(self) -> Page:
        """Swagger UI, from this server's own files."""
        html = render_to_string("duely/swagger.html", {"document": self.content})
        return Page.of(html.encode(), "text/html; charset=utf-8")

    @_read_only
    def schema(self, request: HttpRequest) -> HttpResponse:
        """The document as JSON; as YAML with `?format=yaml` or an Accept header that names YAML."""
        is_yaml = request.GET.get("format", "").lower() == "yaml" or "yaml" in request.headers.get("Accept", "")
        return self._page("as_yaml" if is_yaml else "as_json").answer(request)

    @_read_only
    def swagger(self, request: HttpRequest) -> HttpResponse:
        """Swagger UI, from this server's own files."""
        return self._page("as_page").answer(request)

    def _page(self, name: str) -> Page:
        with self._lock:  # otherwise each of several first requests would make the document
            page: Page = getattr(self, name)
        return page
