"""Detects poolers between Duely and PostgreSQL. One that does not keep sessions is refused (decision 0033).

Prepared statements, timeouts, LISTEN and advisory locks belong to a session of the server. A pooler that runs each
transaction in another session (PgBouncer's `pool_mode = transaction`) can lose them at any moment.
"""

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from duely.cli.exits import Exit, Failure

if TYPE_CHECKING:
    import psycopg

ROUNDS = 5
REFUSED = (
    "DATABASE_URL leads to a pooler that does not keep sessions (of PgBouncer: pool_mode = transaction or statement). "
    "Duely needs pool_mode = session, or the address of PostgreSQL itself."
)


def refuse_pooler() -> None:
    """Raise Failure if DATABASE_URL leads to a pooler that does not keep sessions."""
    from django.db import connection

    if connection.vendor == "postgresql" and pooler() is False:
        raise Failure(REFUSED, Exit.DATABASE)


def refuse_pooler_if_reached() -> None:
    """Call `refuse_pooler`, but ignore an unreachable database: `duely web` starts without one."""
    from django.db import Error

    with suppress(Error):
        refuse_pooler()


def pooler() -> bool | None:
    """Whether the pooler keeps sessions; None without a pooler. Raises OperationalError."""
    from django.db import connection

    parameters = connection.server_parameters()  # type: ignore[attr-defined]
    with connection.wrap_database_errors:
        return _keeps_sessions(parameters)


def _keeps_sessions(parameters: dict[str, Any]) -> bool | None:
    """Compare the server processes of two connections: a kept session always has the same one, and has it alone."""
    import psycopg

    from duely.database.postgresql.deadlines import Connection

    with ExitStack() as stack:
        one, other = (stack.enter_context(Connection.connect(**parameters, autocommit=True)) for _ in range(2))
        process = _process(one)
        if one.info.backend_pid == process:
            return None  # a direct connection; a pooler sends a made-up process id while connecting
        for _ in range(ROUNDS):
            try:
                with other.transaction():
                    if _process(other) == process:
                        return False
            except psycopg.errors.ProtocolViolation:
                return False  # pool_mode = statement has no transactions
            if _process(one) != process:
                return False
        return True


def _process(connection: "psycopg.Connection[Any]") -> int:
    [number] = connection.execute("SELECT pg_backend_pid()").fetchone() or [0]
    return int(number)
