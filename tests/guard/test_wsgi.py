"""Chunked bodies: Django sees none without a Content-Length."""

import io
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from duely.guard.middleware import MAX_BODY_BYTES
from duely.guard.wsgi import with_length


class Stream(io.BytesIO):
    """A body that tells how much of it was asked for."""

    asked = 0

    def read(self, size: int | None = -1) -> bytes:
        self.asked += size or 0
        return super().read(size)


def run(environ: dict[str, Any]) -> dict[str, Any]:
    """The environ that the application behind the wrapper gets."""
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        seen.update(environ)
        return [b"answer"]

    assert list(with_length(application)(environ, lambda *_: None)) == [b"answer"]
    return seen


def test_a_chunked_body_gets_a_length() -> None:
    seen = run({"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": io.BytesIO(b'{"title": "x"}')})
    assert seen["CONTENT_LENGTH"] == "14"
    assert seen["wsgi.input"].read() == b'{"title": "x"}'


def test_an_empty_chunked_body_has_length_zero() -> None:
    assert run({"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": io.BytesIO(b"")})["CONTENT_LENGTH"] == "0"


@pytest.mark.parametrize("size", [MAX_BODY_BYTES - 1, MAX_BODY_BYTES])
def test_a_chunked_body_up_to_the_limit_is_whole(size: int) -> None:
    seen = run({"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": io.BytesIO(b"x" * size)})
    assert seen["CONTENT_LENGTH"] == str(size)
    assert len(seen["wsgi.input"].read()) == size


def test_of_a_chunked_body_over_the_limit_one_byte_more_is_read_and_no_limit_lets_it_through() -> None:
    stream = Stream(b"x" * (MAX_BODY_BYTES + 5000))
    seen = run({"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": stream})
    assert int(seen["CONTENT_LENGTH"]) > 2**60
    assert stream.asked == MAX_BODY_BYTES + 1


def test_a_body_that_has_a_length_is_not_chunked_any_more() -> None:
    seen = run({"HTTP_TRANSFER_ENCODING": " Chunked ", "wsgi.input": io.BytesIO(b"x")})
    assert seen["CONTENT_LENGTH"] == "1"
    assert "HTTP_TRANSFER_ENCODING" not in seen


@pytest.mark.parametrize(
    "headers",
    [
        {"HTTP_TRANSFER_ENCODING": "gzip, chunked"},
        {"HTTP_TRANSFER_ENCODING": "identity"},
        {"CONTENT_LENGTH": "14"},
        {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": "14"},
        {},
        {"CONTENT_LENGTH": ""},
    ],
)
def test_other_bodies_are_left_alone(headers: dict[str, str]) -> None:
    stream = Stream(b'{"title": "x"}')
    seen = run({**headers, "wsgi.input": stream})
    assert seen["wsgi.input"] is stream
    assert stream.asked == 0
    assert {name: value for name, value in seen.items() if name != "wsgi.input"} == headers
