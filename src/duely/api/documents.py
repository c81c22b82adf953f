"""The documents of the API: its index, the OpenAPI document, the page to try it."""

import json
from collections.abc import Callable, Sequence
from functools import cached_property, wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from dmr.routing import Router

import duely
from duely.api import openapi
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
    """What this is, and where its parts are."""
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


class Document:
    """The OpenAPI document of a router, built at its first request and kept."""

    def __init__(self, router: Router, aliases: Sequence[tuple[str, str]]) -> None:
        self._router = router
        self._aliases = aliases

    @cached_property
    def content(self) -> dict[str, Any]:
        """The document as plain JSON values."""
        further: dict[str, list[str]] = {}
        for alias, canonical in self._aliases:
            further.setdefault(f"/{self._router.prefix}{canonical}", []).append(f"/{self._router.prefix}{alias}")
        return openapi.build(self._router, further)

    @cached_property
    def as_json(self) -> bytes:
        """The document as it is sent."""
        return json.dumps(self.content).encode()

    @cached_property
    def as_yaml(self) -> bytes:
        """The document as it is sent, which takes a second to make."""
        import yaml  # needed by the few who ask for it, and a fiftieth of the start

        return yaml.safe_dump(self.content, sort_keys=False, allow_unicode=True).encode()

    @_read_only
    def schema(self, request: HttpRequest) -> HttpResponse:
        """The document as JSON; as YAML with `?format=yaml` or an Accept header that names YAML."""
        if request.GET.get("format", "").lower() == "yaml" or "yaml" in request.headers.get("Accept", ""):
            return HttpResponse(self.as_yaml, content_type="application/yaml")
        return HttpResponse(self.as_json, content_type="application/json")

    @_read_only
    def swagger(self, request: HttpRequest) -> HttpResponse:
        """Swagger UI, from this server's own files."""
        return render(request, "duely/swagger.html", {"document": self.content})
