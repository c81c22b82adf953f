"""PgBouncer, as Debian has it (`apt-get install pgbouncer`), in front of the server of the tests."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from programs import free_port, until

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/sbin")
MISSING = "pgbouncer is not installed (apt-get install pgbouncer)"
SETTINGS = """
[databases]
* = host={server} port=5432 user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
logfile = {directory}/log
pidfile = {directory}/pid
"""
"""All else is as PgBouncer has it by default."""


@contextmanager
def pooling(url: str, mode: str) -> Iterator[str]:
    """The address of a PgBouncer of this mode in front of the server of `url`."""
    assert PROGRAM is not None
    address, _, server = url.partition("?host=")
    port = free_port()
    # It does not run as root, and only the server's own user gets at its socket.
    user = pwd.getpwuid(Path(server).stat().st_uid)
    directory = Path(tempfile.mkdtemp(prefix="duely-pgbouncer-"))
    settings = directory / "pgbouncer.ini"
    settings.write_text(SETTINGS.format(server=server, port=port, mode=mode, directory=directory))
    command = [PROGRAM, str(settings)]
    if os.getuid() == 0:
        for path in (directory, settings):
            os.chown(path, user.pw_uid, user.pw_gid)
        command[1:1] = ["-u", user.pw_name]
    with (directory / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    pooled = address.replace("@/", f"@127.0.0.1:{port}/")

    def answers() -> bool:
        assert process.poll() is None, (directory / "output").read_text()
        try:
            psycopg.connect(pooled).close()
        except psycopg.OperationalError:
            return False
        return True

    try:
        until(answers)
        yield pooled
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(directory)
