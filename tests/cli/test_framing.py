"""Requests that are too much, or that two programs could understand in two ways, over raw sockets (security.md V25).

Behind a proxy such a request is a way to slip a second one past it, or to get the answer that is meant for someone else.
"""

import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from programs import Server, run

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all: what is tried here never reaches the database."""
    directory: Path = tmp_path_factory.mktemp("framing")
    url = f"sqlite:///{directory}/duely.sqlite3"
    assert run(directory, "migrate", database_url=url).returncode == 0
    made = Server(directory, "web", database_url=url, WEB_CONCURRENCY="1")
    try:
        made.wait_until_it_answers()
        yield made
        assert "unhandled_exception" not in made.out.read_text()
    finally:
        made.clean_up()


LAST = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: the-last-one\r\nConnection: close\r\n\r\n"


def talk(server: Server, raw: bytes) -> tuple[list[int], bool]:
    """Send this, and one plain request behind it: (every status, whether the plain one was answered as the last)."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        got = b""
        with suppress(ConnectionError):
            connection.sendall(raw + LAST)
        with suppress(ConnectionError):
            while more := connection.recv(65536):
                got += more
    heads = re.findall(rb"HTTP/1\.1 (\d{3})[^\r]*\r\n(.*?)\r\n\r\n", got, re.DOTALL)
    is_last = bool(heads) and b"the-last-one" in heads[-1][1].lower()
    return [int(status) for status, _ in heads], is_last


GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /api/v1/auth/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = b'{"username": "a", "password": "b"}'
CHUNKED = b"22\r\n" + BODY + b"\r\n0\r\n\r\n"
HIDDEN = b"GET /api/v1/hidden/ HTTP/1.1\r\nHost: localhost\r\n\r\n"


def many(number: int, form: bytes = b"X-%d: a\r\n") -> bytes:
    return b"".join(form % index for index in range(number))


REFUSED = {
    "101 headers": GET + many(100) + b"\r\n",
    "1,000 headers": GET + many(1000) + b"\r\n",
    "101 times the same header": GET + many(100, b"X-A: %d\r\n") + b"\r\n",
    "a header of 20 kB": GET + b"X-A: " + b"a" * 20_000 + b"\r\n\r\n",
    "a header of 1 MB": GET + b"X-A: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "a header without an end": GET + b"X-A: " + b"a" * 2_000_000,
    "a header whose name has 20 kB": GET + b"X" * 20_000 + b": a\r\n\r\n",
    "90 headers of 200 bytes": GET + many(90, b"X-%d: " + b"a" * 195 + b"\r\n") + b"\r\n",
    "a path of 20 kB": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a path of 70 kB": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a chunked body with length 0": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two lengths": POST + b"Content-Length: 34\r\nContent-Length: 4\r\n\r\n" + BODY + HIDDEN,
    "a list of lengths": POST + b"Content-Length: 34, 34\r\n\r\n" + BODY,
    "a length with a sign": POST + b"Content-Length: +34\r\n\r\n" + BODY,
    "a negative length": POST + b"Content-Length: -1\r\n\r\n" + BODY,
    "a length in hexadecimal": POST + b"Content-Length: 0x22\r\n\r\n" + BODY,
    "a length beyond all numbers": POST + b"Content-Length: 99999999999999999999999\r\n\r\n" + BODY,
    "an unknown transfer coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKED + HIDDEN,
    "the identity coding": POST + b"Transfer-Encoding: identity\r\n\r\n" + HIDDEN,
    "chunked, but not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n" + CHUNKED + HIDDEN,
    "a blank before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKED + HIDDEN,
    "a vertical tab before chunked": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + CHUNKED + HIDDEN,
    "chunked in HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED + HIDDEN,
    "a folded header": GET + b"X-A: a\r\n b\r\n\r\n",
    "a folded transfer coding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + CHUNKED + HIDDEN,
    "a blank before the first header": b"GET /healthz HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "a bare CR within a header": GET + b"X-A: a\rX-B: b\r\n\r\n",
    "a NUL within a header": GET + b"X-A: a\x00b\r\n\r\n",
    "a chunk whose size is no number": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + BODY + b"\r\n0\r\n\r\n" + HIDDEN,
    "a chunk size with 0x": POST + b"Transfer-Encoding: chunked\r\n\r\n0x22\r\n" + BODY + b"\r\n0\r\n\r\n" + HIDDEN,
    "a chunk beyond all numbers": POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" + BODY,
    "chunks that end in LF": POST + b"Transfer-Encoding: chunked\r\n\r\n22\n" + BODY + b"\n0\n\n" + HIDDEN,
    "a chunk extension that ends in LF": POST + b"Transfer-Encoding: chunked\r\n\r\n22;a\n" + BODY + b"\r\n0\r\n\r\n" + HIDDEN,
    "a chunk that is longer than it says": POST + b"Transfer-Encoding: chunked\r\n\r\n10\r\n" + BODY + b"\r\n0\r\n\r\n" + HIDDEN,
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/1.2": b"GET /healthz HTTP/1.2\r\nHost: localhost\r\n\r\n",
    "TLS on a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}  # fmt: skip


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused_once_and_the_connection_ends(raw: bytes, server: Server) -> None:
    statuses, is_last = talk(server, raw)
    # Who sends on into a connection that has ended may never read why it did.
    assert statuses in ([400], [414], [431], *([[]] if len(raw) > 16 * 1024 else []))
    assert not is_last


ANSWERED_ONCE = {
    "100 headers": (GET + many(99) + b"\r\n", 200),
    "a header of 15 kB": (GET + b"X-A: " + b"a" * 15_000 + b"\r\n\r\n", 200),
    "a chunked body": (POST + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED, 401),
    "a chunked body with trailers": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED[:-2] + b"Content-Length: 5\r\nHost: evil\r\n\r\n",
        401,
    ),
    "a coding that nobody undoes": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKED, 400),
    "chunked twice": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED, 400),
    "the same length twice": (POST + b"Content-Length: 34\r\nContent-Length: 34\r\n\r\n" + BODY, 401),
    "a body where none belongs": (GET + b"Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN, 200),
    "two hosts": (b"GET /api/v1/ HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400),
    "two hosts, ours last": (b"GET /api/v1/ HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\n\r\n", 400),
    "no host": (b"GET /api/v1/ HTTP/1.1\r\n\r\n", 400),
    "another host": (b"GET /api/v1/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", 400),
    "an absolute address": (b"GET http://localhost/api/v1/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
    "an absolute address and a foreign host": (
        b"GET http://localhost/api/v1/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        400,
    ),
    "CONNECT": (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n", 400),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    "an upgrade to HTTP/2": (GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 200),
    # RFC 9112 section 2.2 lets a server take LF for CRLF at the end of a line; what matters is that nothing hides.
    "lines that end in LF": (b"GET /healthz HTTP/1.1\nHost: localhost\n\n", 200),
}


@pytest.mark.parametrize("raw, status", ANSWERED_ONCE.values(), ids=ANSWERED_ONCE.keys())
def test_it_is_answered_once_and_what_follows_is_the_next_request(raw: bytes, status: int, server: Server) -> None:
    assert talk(server, raw) == ([status, 200], True)


@pytest.mark.parametrize("length", [1, 4, 34, len(CHUNKED), 120, 10**9])
@pytest.mark.parametrize("is_first", [True, False], ids=["length first", "coding first"])
def test_a_chunked_body_with_a_length_has_one_meaning(length: int, is_first: bool, server: Server) -> None:
    """It is read as chunked, and the connection ends: RFC 9112 section 6.3. Nothing behind it is taken for a request."""
    headers = [b"Content-Length: %d\r\n" % length, b"Transfer-Encoding: chunked\r\n"]
    head = POST + b"".join(headers if is_first else reversed(headers)) + b"\r\n"

    statuses, is_last = talk(server, head + CHUNKED + HIDDEN)

    # 401: the guess was read whole, whatever the length says.
    assert statuses == [401]
    assert not is_last


def test_a_head_that_comes_in_small_pieces_is_refused_when_it_has_become_too_large(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(GET)
        with suppress(ConnectionError):
            for index in range(60):
                connection.sendall(b"X-%d: " % index + b"a" * 500 + b"\r\n")
        with suppress(ConnectionError):
            assert connection.recv(64).startswith(b"HTTP/1.1 431 ")
    assert server.get("/healthz") == 200


def test_a_chunked_body_without_an_end_is_cut_off(server: Server) -> None:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    sent, most = 0, 512 * 1024 * 1024
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        with suppress(ConnectionError):
            while sent < most:
                connection.sendall(chunk)
                sent += len(chunk)
    assert sent < most
    assert server.get("/healthz") == 200


def early_end(server: Server, raw: bytes) -> bytes:
    """The answer to a request after which the client sends no more."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        got = b""
        while more := connection.recv(65536):
            got += more
    return got


SIGN_UP = b"POST /api/v1/auth/signup/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
NEW_USER = b'{"username": "NAME", "email": "NAME@example.org", "password": "correct horse battery"}'
AS_CHUNKED = SIGN_UP + b"Transfer-Encoding: chunked\r\n\r\n"
SIZE = b"%x\r\n"
ENDING_EARLY: dict[str, tuple[bytes, bytes]] = {
    "shorter than its length": (SIGN_UP + b"Content-Length: 1000\r\n\r\n", b""),
    "one byte shorter than its length": (SIGN_UP + b"Content-Length: LONGER\r\n\r\n", b""),
    "no last chunk": (AS_CHUNKED + SIZE, b"\r\n"),
    "no end of the last chunk": (AS_CHUNKED + SIZE, b"\r\n0\r\n"),
    "no CRLF after a chunk": (AS_CHUNKED + SIZE, b""),
    "a chunk that is not whole": (AS_CHUNKED + b"fff\r\n", b""),
    "garbage after a chunk": (AS_CHUNKED + SIZE, b"XX\r\n0\r\n\r\n"),
    "garbage for a size": (AS_CHUNKED + SIZE, b"\r\nXX\r\n\r\n0\r\n\r\n"),
    "no trailer's end": (AS_CHUNKED + SIZE, b"\r\n0\r\nX-A: b\r\n"),
    "nothing but the head": (AS_CHUNKED, b""),
}


@pytest.mark.parametrize("name", ENDING_EARLY)
def test_a_body_that_ends_early_is_refused_and_writes_nothing(name: str, server: Server) -> None:
    head, tail = ENDING_EARLY[name]
    user = NEW_USER.replace(b"NAME", b"early%d" % [*ENDING_EARLY].index(name))
    raw = head.replace(b"LONGER", b"%d" % (len(user) + 1))
    raw = raw % len(user) if raw.endswith(SIZE) else raw
    raw += user if name != "nothing but the head" else b""

    answer = early_end(server, raw + tail)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"malformed_request"' in answer
    assert b"ended early" in answer
    # The name is still free.
    whole = SIGN_UP + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(user) + user
    assert talk_alone(server, whole).startswith(b"HTTP/1.1 201 ")


def talk_alone(server: Server, raw: bytes) -> bytes:
    """The answer to one request, after which the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(raw)
        got = b""
        while more := connection.recv(65536):
            got += more
    return got


@pytest.mark.parametrize("tail", [b"\r\n0\r\n\r\n", b"\r\n0\r\nX-A: b\r\n\r\n"], ids=["plain", "with a trailer"])
def test_a_chunked_body_with_its_last_chunk_is_taken(tail: bytes, server: Server) -> None:
    user = NEW_USER.replace(b"NAME", b"chunked%d" % len(tail))
    head = AS_CHUNKED.removesuffix(b"\r\n") + b"Connection: close\r\n\r\n"

    answer = talk_alone(server, head + SIZE % len(user) + user + tail)

    assert answer.startswith(b"HTTP/1.1 201 ")


def test_a_page_refuses_a_form_that_ends_early(server: Server) -> None:
    form = b"POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"

    answer = early_end(server, form + b"Content-Length: 30\r\n\r\nusername=a")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"ended early" in answer
