"""The OpenAPI 3.1 document: the framework's document, completed and made exact.

Generators of clients read it too: they name their types after the schemas here (decision 0038).
"""

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec
from dmr.openapi import OpenAPIConfig, build_schema
from dmr.routing import Router

import duely
from duely.api import idempotency
from duely.api.answers import JSON
from duely.api.bodies import IDENTITY
from duely.api.components import Listed, Upload
from duely.api.lists import DEFAULT_LIMIT, MAX_DEPTH, MAX_LIMIT, Listing
from duely.api.resource import Resource
from duely.api.security import OpenOrBearer
from duely.api.types import REFERENCE, REFERENCED, component_schemas, inline_schema
from duely.core.errors import Refused, catalogue

METHODS = ("get", "post", "put", "patch", "delete")
COMMON_HEADERS = {
    "X-Request-ID": {
        "description": "The request id: the `X-Request-ID` of the request if it is valid, otherwise a new one.",
        "required": True,
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": (
            'The rate limit of this request: `"user";q=50;w=60` is 50 requests within 60 seconds '
            "(draft-ietf-httpapi-ratelimit-headers). Absent when no limit applies."
        ),
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": 'What is left of the limit: `"user";r=49;t=60` is 49 more; the next is added in 60 seconds.',
        "schema": {"type": "string"},
    },
}
HEADER_REFERENCES = {name: {"$ref": f"#/components/headers/{name}"} for name in COMMON_HEADERS}
RETRY_AFTER = {
    "description": "Seconds to wait before the next request.",
    "required": True,
    "schema": {"type": "string", "pattern": "^[0-9]+$"},
}
HEADERS_OF_STATUS: Mapping[str, dict[str, Any]] = {
    "401": {"WWW-Authenticate": {"required": True, "schema": {"type": "string", "const": "Bearer"}}},
    "415": {
        "Accept-Encoding": {
            "description": "The accepted values of `Content-Encoding`, when the one in the request was refused.",
            "schema": {"type": "string", "const": IDENTITY},
        }
    },
    "429": {"Retry-After": RETRY_AFTER},
    "503": {"Retry-After": RETRY_AFTER},
}
CONDITIONS: Mapping[str, dict[str, Any]] = {
    "304": {
        "name": "If-None-Match",
        "in": "header",
        "description": "Answers 304 without a body if the current ETag is one of these (RFC 9110 section 13.1.2).",
        "schema": {"type": "string", "examples": ['"7"']},
    },
    "412": {
        "name": "If-Match",
        "in": "header",
        "description": "Changes nothing and answers 412 unless the ETag is one of these (RFC 9110 section 13.1.1).",
        "schema": {"type": "string", "examples": ['"7"', "*"]},
    },
}
"""The request header that leads to each status."""
KEY = {
    "name": idempotency.HEADER,
    "in": "header",
    "description": (
        "Makes retries safe. The answer is kept for 24 hours. The same request with the same key gets it again, with "
        "`Idempotent-Replayed: true`, and is not executed a second time."
    ),
    "schema": {"type": "string", "pattern": idempotency.PATTERN},
}
REPLAYED = {
    idempotency.REPLAYED: {
        "description": "The stored answer of an earlier request with the same key. Nothing was executed again.",
        "schema": {"type": "string", "const": "true"},
    }
}
SEARCH = (
    "Words to find, in any order. Case and accents are ignored. `rent` also finds words that begin with it, such as "
    '`rental`. Quotes find a phrase: `"next month"`. `-` excludes a word or a phrase: `-car`.'
)
TEXT = {"type": "string", "minLength": 1, "maxLength": 255}
TAGS = {
    "auth": "Sign-up, sign-in, sessions, passwords and addresses.",
    "profile": "Your profile.",
    "users": "User accounts. Admins see all of them, everyone else their own.",
    "tasks": "Tasks, the trash and statistics.",
    "categories": "Categories of tasks.",
    "activity": "The log of every change.",
    "export and import": "Export of all your data, and import from Duely and other programs.",
    "bans": "Banned addresses and networks. For admins.",
}
"""The groups of operations, in the order of a page of documentation."""
NEVER_REPLAYED = ("401", "413", "415", "429", "500", "503")
"""Statuses that are answered before a key is looked up, or that are not stored."""
DESCRIPTION = """\
Tasks, categories, accounts and a log of every change.

Sign up, sign in, and send the access token as `Authorization: Bearer …`. Answers are JSON. Errors are
problem documents (RFC 9457) with a stable `code`. Paths work with and without the trailing slash,
and under `/api/` as well as `/api/v1/`. `HEAD` works wherever `GET` does.

To try operations in Swagger UI: execute `POST /api/v1/auth/signup/` and `POST /api/v1/auth/login/` with their examples,
copy the value of `access` from the second answer, and paste it under **Authorize**.
"""


def build(router: Router, aliases: Mapping[str, list[str]]) -> dict[str, Any]:
    """The document as plain JSON values. aliases: other paths of the same operations, by canonical path."""
    config = OpenAPIConfig(title="Duely", version=duely.__version__, description=DESCRIPTION)
    document = build_schema(router, config=config).convert(skip_validation=True)
    document["tags"] = [{"name": name, "description": description} for name, description in TAGS.items()]
    document["info"]["license"] = {"name": "MIT", "identifier": "MIT"}
    document["components"]["headers"] = dict(COMMON_HEADERS)
    resources = dict(_resources(router))
    for path, item in document["paths"].items():
        resource = resources[path]
        for method in METHODS:
            if method in item:
                _add_choices(document, resource, method)
                _complete(item[method], resource, method, aliases.get(path, []))
    _name_items(document)
    _add_problems(document)
    _add_referenced(document)
    return cast("dict[str, Any]", _plain(document))


def _resources(router: Router) -> Iterator[tuple[str, type[Resource]]]:
    for pattern in router.urls:
        path = re.sub(r"<\w+:(\w+)>", r"{\1}", str(pattern.pattern))
        yield f"/{router.prefix}{path}", cast("Any", pattern).callback.view_class


def _complete(operation: dict[str, Any], resource: type[Resource], method: str, aliases: list[str]) -> None:
    endpoint = resource.api_endpoints[method.upper()]
    if any(isinstance(auth, OpenOrBearer) for auth in endpoint.metadata.auth or ()):
        operation["security"] = [{}, *operation["security"]]
    if aliases:
        paths = ", ".join(f"`{alias}`" for alias in aliases)
        operation["description"] = f"{operation.get('description', '')}\n\nAlso at {paths}.".strip()
    for parser in endpoint.metadata.component_parsers or ():
        if isinstance(parser.parser, Listed):
            operation["parameters"] = list(_list_parameters(parser.parser.listing))
        elif parser.parser.context_name == "parsed_body":
            _add_examples(operation["requestBody"]["content"][JSON], getattr(parser.model, "examples", {}))
        elif isinstance(parser.parser, Upload):
            for media, value in parser.parser.examples.items():
                _add_examples(operation["requestBody"]["content"][media], value)
        elif parser.parser.context_name == "parsed_options":
            operation["parameters"] = [*operation.get("parameters", []), *_options(parser.model)]
    for status, parameter in CONDITIONS.items():
        if status in operation["responses"]:
            operation["parameters"] = [*operation.get("parameters", []), parameter]
    replayed = {}
    if idempotency.KeyReused.code in operation["responses"].get("422", {}).get("x-problem-codes", ()):
        operation["parameters"] = [*operation.get("parameters", []), KEY]
        replayed = REPLAYED
    for status, answer in operation["responses"].items():
        headers = {**HEADER_REFERENCES, **HEADERS_OF_STATUS.get(status, {})}
        if status not in NEVER_REPLAYED:
            headers |= replayed
        answer["headers"] = headers | answer.get("headers", {})
        if status in ("204", "304"):
            answer.pop("content", None)
        for media in answer.pop("x-also-media", ()):
            answer["content"][media.partition(";")[0]] = {"schema": {"type": "string"}}
        codes = answer.get("x-problem-codes")
        if codes:
            (media,) = answer["content"]
            answer["content"] = {media: {"schema": _problem_of(codes)}}


def _add_examples(content: dict[str, Any], examples: Mapping[str, Any]) -> None:
    """Add examples by name. Each is answered with 2xx, except those with tokens and codes of a server."""
    if examples:
        content["examples"] = {
            name: {"summary": name.replace("_", " ").capitalize(), "value": value} for name, value in examples.items()
        }


def _problem_of(codes: Sequence[str]) -> dict[str, Any]:
    """The schema of an error that has one of these codes."""
    references = {code: {"$ref": REFERENCE.format(name=_problem_name(code))} for code in codes}
    if len(codes) == 1:
        return references[codes[0]]
    mapping = {code: each["$ref"] for code, each in references.items()}
    return {"oneOf": [*references.values()], "discriminator": {"propertyName": "code", "mapping": mapping}}


def _problem_name(code: str) -> str:
    return "".join(word.capitalize() for word in code.split("_")) + "Problem"


def _add_problems(document: dict[str, Any]) -> None:
    """Add a schema for each code, which determines the status and the members of its problem documents."""
    schemas = document["components"]["schemas"]
    general = schemas["Problem"]
    common = {name: value for name, value in general["properties"].items() if name not in ("current", "results")}
    answers = (answer for item in document["paths"].values() for method in METHODS for answer in _answers(item, method))
    refusals = catalogue()
    for code in sorted({code for answer in answers for code in answer.get("x-problem-codes", ())}):
        refused: type[Refused] = refusals[code]
        exact = {
            "status": {"type": "integer", "enum": [refused.status]},
            "code": {"type": "string", "const": code},
        }
        schemas[_problem_name(code)] = {
            "type": "object",
            "title": _problem_name(code),
            "description": f"{refused.status}: {refused.title}",
            "properties": {**common, **exact, **refused.members},
            "required": [*general["required"], *refused.members],
        }


def _answers(item: dict[str, Any], method: str) -> Iterator[dict[str, Any]]:
    if method in item:
        yield from item[method]["responses"].values()


def _add_referenced(document: dict[str, Any]) -> None:
    """Add the schemas that the document refers to and that the framework does not see."""
    schemas = document["components"]["schemas"]
    while missing := {*_REFERENCE.findall(json.dumps(document))} - schemas.keys():
        for name in sorted(missing):
            for each, schema in component_schemas(REFERENCED[name]).items():
                schemas.setdefault(each, schema)


_REFERENCE = re.compile(r'"#/components/schemas/(\w+)"')


def _plain(node: Any) -> Any:
    """The node in a form that more programs understand.

    Enumerations get a type, an enumeration of one text becomes a constant, unions within unions are merged, and
    descriptions are not indented.
    """
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {name: value if name in ("example", "examples") else _plain(value) for name, value in node.items()}
    if isinstance(plain.get("description"), str):
        plain["description"] = inspect.cleandoc(plain["description"])
    if isinstance(plain.get("enum"), list):
        plain["type"] = "string" if isinstance(plain["enum"][0], str) else "integer"
        if plain["type"] == "string" and len(plain["enum"]) == 1:
            (plain["const"],) = plain.pop("enum")
    union = plain.get("anyOf")
    if isinstance(union, list) and any("anyOf" in each for each in union):
        inner = {key: value for each in union if "anyOf" in each for key, value in each.items()}
        plain = {**inner, **plain, "anyOf": [part for each in union for part in each.get("anyOf", [each])]}
    return plain


def _list_parameters(listing: Listing) -> Iterator[dict[str, Any]]:
    for declared in listing.filters:
        for name, schema, description in declared.parameters():
            array = {"style": "form", "explode": False} if schema.get("type") == "array" else {}
            yield {"name": name, "in": "query", "description": description, "schema": dict(schema), **array}
    if listing.search:
        yield {"name": "search", "in": "query", "description": SEARCH, "schema": TEXT}
    yield _array(
        "ordering",
        f"{listing.name.capitalize()}Ordering",
        f"Fields to sort by; `-` before a name sorts descending. Default: `{listing.default_order}`.",
    )
    yield _array("fields", f"{listing.item.__name__}FieldName", "Return only these fields of each object.")
    yield _number("limit", MAX_LIMIT, DEFAULT_LIMIT, "Maximum number of objects on a page by cursor.")
    description = "`next_cursor` of the previous page. Use it with the same ordering and filters."
    yield {"name": "cursor", "in": "query", "description": description, "schema": {"type": "string"}}
    yield _number(
        "page", MAX_DEPTH, None, f"Number of the page, instead of a cursor. Pages reach up to row {MAX_DEPTH}."
    )
    yield _number(
        "page_size",
        MAX_LIMIT,
        DEFAULT_LIMIT,
        "Number of objects on a numbered page. Without `page` and `cursor` it selects page 1, unless it has its "
        "default value and `limit` is sent too.",
    )


def _options(model: type[msgspec.Struct]) -> Iterator[dict[str, Any]]:
    """The fields of a struct as query parameters."""
    schema = inline_schema(model)
    for name, described in schema["properties"].items():
        description = described.get("description", "")
        is_required = name in schema.get("required", ())
        plain = {key: value for key, value in described.items() if key != "description"}
        yield {"name": name, "in": "query", "description": description, "required": is_required, "schema": plain}


def _add_choices(document: dict[str, Any], resource: type[Resource], method: str) -> None:
    for parser in resource.api_endpoints[method.upper()].metadata.component_parsers or ():
        if isinstance(parser.parser, Listed):
            document["components"]["schemas"].update(_choices_of(parser.parser.listing))


def _choices_of(listing: Listing) -> Iterator[tuple[str, dict[str, Any]]]:
    """The enumerations of a list's parameters, by name."""
    names = [sign + name for name in listing.orderings for sign in ("", "-")]
    # Otherwise generators make up a name for "-title", such as VALUE_11.
    variables = [name.upper() + end for name in listing.orderings for end in ("", "_DESCENDING")]
    orderings = {"type": "string", "enum": names, "x-enum-varnames": variables}
    yield f"{listing.name.capitalize()}Ordering", orderings
    yield f"{listing.item.__name__}FieldName", {"type": "string", "enum": [*listing.field_names]}


def _array(name: str, kind: str, description: str) -> dict[str, Any]:
    schema = {"type": "array", "items": {"$ref": REFERENCE.format(name=kind)}, "minItems": 1}
    return {
        "name": name,
        "in": "query",
        "description": description,
        "schema": schema,
        "style": "form",
        "explode": False,
    }


def _number(name: str, highest: int, default: int | None, description: str) -> dict[str, Any]:
    schema = {"type": "integer", "minimum": 1, "maximum": highest}
    if default is not None:
        schema["default"] = default
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _name_items(document: dict[str, Any]) -> None:
    """Add to each page's schema that with `fields` its objects have only some members."""
    schemas = document["components"]["schemas"]
    for name in [name for name in schemas if name.endswith("Page") and "data" in schemas[name].get("properties", {})]:
        items = schemas[name]["properties"]["data"]
        item = items["items"]["$ref"].rpartition("/")[2]
        trimmed = {
            **schemas[item],
            "title": f"{item}Fields",
            "description": f"{item} with only the fields that the parameter `fields` names.",
        }
        trimmed.pop("required", None)
        schemas[f"{item}Fields"] = trimmed
        items["items"] = {
            "anyOf": [{"$ref": f"#/components/schemas/{item}"}, {"$ref": f"#/components/schemas/{item}Fields"}]
        }


__all__ = ["JSON", "build"]
