"""The connections of a process's clients: the byte counters of the kernel, and which connections are closed."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from duely.http.connections import (
    MAX_CHUNKED_BYTES,
    MIN_READ_BYTES,
    UNREAD_SECONDS,
    ConnectionWatch,
    EndlessBodies,
    UnreadAnswers,
)
from duely.http.sockets import Connection, abort, can_be_counted, open_connections
from programs import until

pytestmark = pytest.mark.skipif(not can_be_counted(), reason="only Linux counts the bytes of a connection")

Pair = tuple[socket.socket, socket.socket, int]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Client, server and port of one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            server, _ = listening.accept()
            with server:
                yield client, server, port


def only_connection(port: int) -> Connection:
    (connection,) = open_connections(port)
    return connection


def test_neither_clients_nor_listening_sockets_are_connections(pair: Pair) -> None:
    client, server, port = pair

    connection = only_connection(port)

    assert connection.descriptor == server.fileno()
    assert (connection.received, connection.sent, connection.queued) == (0, 0, 0)
    assert open_connections(client.getsockname()[1])[0].descriptor == client.fileno()


def test_bytes_that_the_server_has_not_read_do_not_count(pair: Pair) -> None:
    client, server, port = pair
    client.sendall(b"x" * 100)
    assert server.recv(30) == b"x" * 30
    assert only_connection(port).received == 30


def test_bytes_that_the_client_does_not_read_are_queued(pair: Pair) -> None:
    client, server, port = pair
    fill(server)
    assert only_connection(port).queued > 0
    server.setblocking(True)
    client.setblocking(False)
    with suppress(BlockingIOError):
        while client.recv(1 << 20):
            pass

    until(lambda: only_connection(port).acknowledged > 1 << 16)


def test_an_aborted_connection_is_closed_for_both_ends(pair: Pair) -> None:
    client, server, port = pair

    abort(only_connection(port))

    assert server.recv(1) == b""
    assert client.recv(1) == b""


def test_another_connection_with_the_same_descriptor_is_not_aborted(pair: Pair) -> None:
    client, server, _ = pair

    abort(Connection("socket:[1]", server.fileno(), 0, 0, 0, 0))

    server.sendall(b"still open")
    assert client.recv(10) == b"still open"


def fill(server: socket.socket) -> None:
    """Send until neither end takes more."""
    server.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            server.send(b"x" * 65536)


def test_an_answer_that_is_not_read_is_cut_off_after_a_minute(pair: Pair) -> None:
    _, server, port = pair
    fill(server)
    watch = ConnectionWatch(port)

    watch.end_unread(1000.0)
    watch.end_unread(1000.0 + UNREAD_SECONDS - 1)
    assert only_connection(port).queued > 0

    watch.end_unread(1000.0 + UNREAD_SECONDS)
    with pytest.raises(OSError, match="Broken pipe"):
        server.send(b"x")


def with_queue(acknowledged: int, *, queued: int = 1) -> list[Connection]:
    return [Connection("socket:[7]", 7, 0, 0, acknowledged, queued)]


def test_a_client_that_reads_a_little_is_cut_off_too() -> None:
    unread = UnreadAnswers()
    assert unread.stalled(with_queue(0), 0) == []
    assert unread.stalled(with_queue(MIN_READ_BYTES - 1), 30) == []
    assert len(unread.stalled(with_queue(MIN_READ_BYTES - 1), UNREAD_SECONDS)) == 1


def test_a_client_that_reads_enough_is_left_alone() -> None:
    unread = UnreadAnswers()
    for minute in range(10):
        assert unread.stalled(with_queue(minute * MIN_READ_BYTES), minute * (UNREAD_SECONDS - 1)) == []


def test_the_time_starts_again_when_all_is_read() -> None:
    unread = UnreadAnswers()
    assert unread.stalled(with_queue(0), 0) == []
    assert unread.stalled(with_queue(5, queued=0), 30) == []
    assert unread.stalled(with_queue(5), UNREAD_SECONDS) == []


def sending(received: int, *, sent: int = 0) -> list[Connection]:
    return [Connection("socket:[7]", 7, received, sent, sent, 0)]


def test_a_first_request_is_measured_from_its_beginning() -> None:
    assert EndlessBodies().excessive(sending(101), 100)
    assert not EndlessBodies().excessive(sending(100), 100)


def test_a_later_request_is_measured_from_its_first_check() -> None:
    endless = EndlessBodies()
    assert not endless.excessive(sending(1000, sent=5), 100)
    assert not endless.excessive(sending(1100, sent=5), 100)
    assert endless.excessive(sending(1101, sent=5), 100)


def test_an_answer_resets_the_count_of_received_bytes() -> None:
    endless = EndlessBodies()
    assert not endless.excessive(sending(1000, sent=5), 100)
    assert not endless.excessive(sending(2000, sent=6), 100)
    assert endless.excessive(sending(2101, sent=6), 100)


@contextmanager
def sent_and_taken(pair: Pair, size: int) -> Iterator[None]:
    client, server, _ = pair
    piece = b"x" * 65536
    for _ in range(size // len(piece) + 1):
        client.sendall(piece)
        left = len(piece)
        while left:
            left -= len(server.recv(left))
    yield


def test_a_connection_that_sends_too_much_is_cut_off(pair: Pair) -> None:
    with sent_and_taken(pair, MAX_CHUNKED_BYTES):
        ConnectionWatch(pair[2]).end_endless()
    assert pair[1].recv(1) == b""


def test_a_long_body_is_not_limited_like_a_chunked_one(pair: Pair) -> None:
    client, server, port = pair
    watch = ConnectionWatch(port)
    with watch.long_body(server.makefile("rb")) as body, sent_and_taken(pair, 0):
        body.received = MAX_CHUNKED_BYTES
        with sent_and_taken(pair, MAX_CHUNKED_BYTES):
            watch.end_endless()
        client.sendall(b"x")
        assert server.recv(1) == b"x"
