"""What clients say to PostgreSQL, read from the wire."""

import socket
import struct
import threading
from contextlib import suppress
from typing import NamedTuple


class Parsed(NamedTuple):
    """A statement that a client had the server prepare."""

    client: int
    name: bytes
    text: bytes
    types: bytes


class Wire:
    """Stands between clients and a server at a Unix socket, and notes each Parse message. As a context manager."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.parsed: list[Parsed] = []
        self.startups: list[bytes] = []

    def __enter__(self) -> "Wire":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        number = 0
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                number += 1
                threading.Thread(target=self._from_client, args=(number, client, server), daemon=True).start()
                threading.Thread(target=_copy, args=(server, client), daemon=True).start()

    def _from_client(self, number: int, client: socket.socket, server: socket.socket) -> None:
        """Messages are a letter, a length and that many bytes; the first ones have no letter."""
        with suppress(OSError):
            self._read(number, client, server)
        server.close()

    def _read(self, number: int, client: socket.socket, server: socket.socket) -> None:
        buffer, has_started = b"", False
        while data := client.recv(65536):
            buffer += data
            while len(buffer) >= (head := 5 if has_started else 4):
                length = struct.unpack("!I", buffer[head - 4 : head])[0] + head - 4
                if len(buffer) < length:
                    break
                message, buffer = buffer[:length], buffer[length:]
                if not has_started:
                    self.startups.append(message[8:])
                    has_started = message[4:8] == b"\x00\x03\x00\x00"
                elif message[:1] == b"P":
                    name, text, types = message[5:].split(b"\x00", 2)
                    self.parsed.append(Parsed(number, name, text, types))
            server.sendall(data)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    target.close()
