"""Checks whether an address is free, and whether it accepts connections."""

import errno
import socket

from duely.cli.exits import Exit, Failure

WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, never bound to


def refuse_taken(host: str, port: int) -> None:
    """Raise Failure if the web processes could not listen on the address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise Failure(f"HOST={host} is not an address of this machine.", Exit.WRONG_USE) from None
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            # `bind` fails if another socket listens there. No `listen`, which would take connections without serving.
            probe.bind(address)
        except OSError as error:
            raise Failure(_sentence(error.errno, host, port), Exit.WRONG_USE) from None


def answers(host: str, port: int) -> bool:
    """Whether the address accepts connections."""
    try:
        with socket.create_connection((WILDCARDS.get(host, host), port), timeout=0.5):
            return True
    except OSError:
        return False


def _sentence(number: int | None, host: str, port: int) -> str:
    if number == errno.EADDRINUSE:
        return f"port {port} on {host} is taken by another program. Stop it, or choose another: PORT={port + 1}."
    if number == errno.EACCES:
        return f"port {port} needs more rights than this user has. Choose one above 1023, for example PORT=8000."
    return f"HOST={host} is not an address of this machine."
