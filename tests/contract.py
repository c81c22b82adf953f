"""Holds answers against the OpenAPI document.

`check()` fails when an answer under `/api/` has a status, a media type, a body or a header that the document does not
promise. `watch()` applies it to every answer that a test's client gets.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import jsonschema_rs
from django.http import HttpResponseBase, StreamingHttpResponse
from django.test import Client, RequestFactory
from django.urls import resolve

from duely.core.actor import Origin

PROBLEM_JSON = "application/problem+json"
# Not described by the document: they are it, its index and its page.
DOCUMENTS = frozenset({"/api/v1/", "/api/v1/schema/", "/api/v1/docs/"})
# Headers that every answer may have, and none explains.
GENERAL_HEADERS = frozenset(
    {
        "access-control-allow-origin",
        "access-control-expose-headers",
        "allow",
        "cache-control",
        "connection",
        "content-length",
        "content-security-policy",
        "content-type",
        "cross-origin-opener-policy",
        "referrer-policy",
        "strict-transport-security",
        "vary",
        "x-content-type-options",
        "x-frame-options",
        "x-request-id",
    }
)


class Broken(AssertionError):
    """An answer that the document does not promise."""


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document as it is served."""
    view = resolve("/api/v1/schema/").func
    request = RequestFactory().get("/api/v1/schema/")
    request.origin = Origin("127.0.0.1", "", "")  # type: ignore[attr-defined]  # as the guard sets it
    return json.loads(view(request).content)


@cache
def paths() -> dict[str, Any]:
    """The paths of the document, with the headers in them instead of references to them."""
    headers = document()["components"]["headers"]
    found = copy.deepcopy(document()["paths"])
    for item in found.values():
        for operation in item.values():
            for answer in operation["responses"].values() if isinstance(operation, dict) else ():
                for name, header in answer.get("headers", {}).items():
                    answer["headers"][name] = headers[header["$ref"].rpartition("/")[2]] if "$ref" in header else header
    return found


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema itself, where this is a reference to one."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return document()["components"]["schemas"][name] if name else schema


@dataclass(frozen=True)
class Operation:
    """One operation of the document."""

    path: str
    method: str
    spec: dict[str, Any]

    @property
    def name(self) -> str:
        return self.spec["operationId"]


@cache
def operations() -> list[Operation]:
    """All operations of the document."""
    return [
        Operation(path, method.upper(), spec)
        for path, item in paths().items()
        for method, spec in item.items()
        if method in {"get", "post", "put", "patch", "delete"}
    ]


def canonical(path: str) -> str:
    """The path as the document names it: with the version and the slash, aliases resolved."""
    from duely.config.urls import ALIASES, PREFIX
    from duely.guard.rules import api_path

    full = api_path(path)
    aliases = {f"/{PREFIX}{alias}": f"/{PREFIX}{name}" for alias, name in ALIASES}
    return aliases.get(full, full)


@cache
def _templates() -> list[tuple[re.Pattern[str], str]]:
    uuid = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    # Without parameters first: /users/me/ is not a user's id.
    paths = sorted(document()["paths"], key=lambda path: path.count("{"))
    return [(re.compile(re.sub(r"\\{\w+\\}", uuid, re.escape(path))), path) for path in paths]


def template_of(path: str) -> str | None:
    """The path of the document that a request's path belongs to."""
    full = canonical(path)
    return next((template for pattern, template in _templates() if pattern.fullmatch(full)), None)


def _strict(node: Any) -> Any:
    """The schema, with every object closed: a member that is not documented is a fault."""
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _strict(value) for key, value in node.items()}
    if node.get("type") == "object" and isinstance(node.get("properties"), dict):
        closed.setdefault("additionalProperties", False)
    return closed


@cache
def _validator(template: str, method: str, status: str, media: str) -> jsonschema_rs.Draft202012Validator:
    answer = paths()[template][method]["responses"][status]
    return compiled(answer["content"][media]["schema"])


@cache
def _header_validator(template: str, method: str, status: str, name: str) -> jsonschema_rs.Draft202012Validator:
    headers = paths()[template][method]["responses"][status]["headers"]
    return compiled(next(header["schema"] for title, header in headers.items() if title.lower() == name))


@cache
def _problem_validator() -> jsonschema_rs.Draft202012Validator:
    return compiled({"$ref": "#/components/schemas/Problem"})


def compiled(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """What checks values by a schema of the document, with every object closed."""
    whole = {**_strict(schema), "components": _strict(document()["components"])}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


def content_of(response: HttpResponseBase) -> bytes:
    """The body of an answer, also of one that is sent as it is read. It can be asked for again."""
    if not isinstance(response, StreamingHttpResponse):
        return getattr(response, "content", b"")
    content = b"".join(response.streaming_content)  # type: ignore[arg-type]
    response.streaming_content = [content]
    return content


def check(method: str, path: str, response: HttpResponseBase) -> None:
    """Raise Broken when this answer is not one that the document promises for this method and path."""
    if not (path == "/api" or path.startswith("/api/")):
        return
    faults = list(_faults(method, path, response))
    if faults:
        shown = content_of(response)[:500]
        raise Broken(f"{method} {path} → {response.status_code}: {'; '.join(faults)}\n{shown!r}")


def _faults(method: str, path: str, response: HttpResponseBase) -> Iterator[str]:
    headers = {name.lower(): value for name, value in response.headers.items()}
    if "x-request-id" not in headers:
        yield "no X-Request-ID"
    kept = response.status_code in {200, 304} and headers.get("cache-control") == "private, no-cache"
    if kept and ("etag" not in headers or "Authorization" not in headers.get("vary", "")):
        yield "kept by clients without a tag or without Vary"
    if path.partition("?")[0] in DOCUMENTS and response.status_code == 200:
        kept = headers.get("cache-control") == "no-cache" and "etag" in headers
    if not kept and headers.get("cache-control") != "no-store":
        yield f"Cache-Control is {headers.get('cache-control')!r}"
    template = template_of(path)
    if method == "HEAD":
        if content_of(response):
            yield "HEAD with a body"
        method = "GET"
        body = None
    else:
        body = content_of(response)
    spec = paths().get(template, {}).get(method.lower()) if template else None
    if spec is None:
        yield from _undocumented_faults(method, path, template, response.status_code, headers, body)
    else:
        yield from _operation_faults(template or "", method.lower(), spec, response.status_code, headers, body)


def _undocumented_faults(
    method: str, path: str, template: str | None, status: int, headers: dict[str, str], body: bytes | None
) -> Iterator[str]:
    """No operation: the list of methods, a document, or a problem."""
    if template and method == "OPTIONS" and status == 204:
        expected = {operation.method for operation in operations() if operation.path == template} | {"OPTIONS"}
        expected |= {"HEAD"} if "GET" in expected else set()
        if {name.strip() for name in headers.get("allow", "").split(",")} != expected:
            yield f"Allow is {headers.get('allow')!r}"
        return
    if canonical(path) in DOCUMENTS and status == 200:
        return
    if status < 400:
        yield "the document has no such operation"
    elif status == 405 and "allow" not in headers:
        yield "405 without Allow"
    elif template and status not in {400, 403, 405, 413, 500, 503}:
        yield "not what a path answers to a method that it lacks"
    if status >= 400:
        yield from _body_faults(_problem_validator(), PROBLEM_JSON, status, headers, body)


def _operation_faults(
    template: str,
    method: str,
    spec: dict[str, Any],
    status: int,
    headers: dict[str, str],
    body: bytes | None,
) -> Iterator[str]:
    answer = spec["responses"].get(str(status))
    if answer is None:
        yield f"the document knows {', '.join(spec['responses'])} only"
        return
    promised = {name.lower(): header for name, header in answer.get("headers", {}).items()}
    for name, header in promised.items():
        if name not in headers and header.get("required"):
            yield f"no {name}"
        if name in headers and not _header_validator(template, method, str(status), name).is_valid(headers[name]):
            yield f"{name} is {headers[name]!r}"
    if unknown := headers.keys() - promised.keys() - GENERAL_HEADERS:
        yield f"undocumented headers: {', '.join(sorted(unknown))}"
    if "content" not in answer:
        if body or "content-type" in headers:
            yield "a body where the document has none"
        return
    sent = headers.get("content-type", "").partition(";")[0]
    media = sent if sent in answer["content"] else next(iter(answer["content"]))
    if media == "text/csv":
        if headers["content-type"] != "text/csv; charset=utf-8":
            yield f"Content-Type is {headers['content-type']!r}"
        return
    yield from _body_faults(_validator(template, method, str(status), media), media, status, headers, body)


def _body_faults(
    validator: jsonschema_rs.Draft202012Validator,
    media: str,
    status: int,
    headers: dict[str, str],
    body: bytes | None,
) -> Iterator[str]:
    if headers.get("content-type") != media:
        yield f"Content-Type is {headers.get('content-type')!r}, not {media!r}"
    if body is None:
        return
    try:
        value = json.loads(body)
    except ValueError:
        yield "the body is not JSON"
        return
    yield from (
        f"/{'/'.join(map(str, fault.instance_path))}: {fault.message}" for fault in validator.iter_errors(value)
    )
    if media == PROBLEM_JSON and isinstance(value, dict) and value.get("status") != status:
        yield "another status in the body"


@contextmanager
def watch(seen: Callable[[str, str, Any], None] = check) -> Iterator[None]:
    """Within it, `seen` gets (method, path, response) of every answer to a `django.test.Client`."""
    original = Client.request

    def request(self: Client, **environ: Any) -> Any:
        response = original(self, **environ)
        seen(response.request["REQUEST_METHOD"], response.request["PATH_INFO"], response)
        return response

    Client.request = request  # type: ignore[method-assign]
    try:
        yield
    finally:
        Client.request = original  # type: ignore[method-assign]
