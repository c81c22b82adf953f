"""DATABASE_URL in, Django's DATABASES entry out."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from duely.config.env import SettingError

NAME = "DATABASE_URL"
ALLOWED = "must be sqlite:///relative/file, sqlite:////absolute/file or postgres://user:password@host:5432/database"

# What an operator may add to a PostgreSQL address; anything else would silently weaken what is set below.
POSTGRES_OPTIONS = frozenset(
    {"sslmode", "sslrootcert", "sslcert", "sslkey", "sslnegotiation", "channel_binding", "target_session_attrs"}
)
SQLITE_TIMEOUT_SECONDS = 5
CONNECT_TIMEOUT_SECONDS = 2
SESSION_OPTIONS = {
    "statement_timeout": "5s",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "10s",
    # PostgreSQL's own 4 is of disks that turn. With it, one owner's list is looked for among everyone's newest tasks.
    "random_page_cost": "1.1",
}


def from_url(url: str, *, threads: int) -> dict[str, Any]:
    """The settings of the one database that `url` names.

    threads: how many threads of one process ask for a connection at once; the PostgreSQL pool grows to that many.
    Raises SettingError for an address that cannot be understood; the text never holds the password.
    """
    scheme = url.partition("://")[0].lower()
    if scheme == "sqlite":
        return _sqlite(url)
    if scheme in {"postgres", "postgresql"}:
        return _postgres(url, threads=threads)
    raise SettingError(NAME, f"{ALLOWED}; {scheme[:20]!r} is not supported.")


def _sqlite(url: str) -> dict[str, Any]:
    rest = url.partition("://")[2]
    path = unquote(rest.removeprefix("/"))
    if not rest.startswith("/") or not path or "?" in rest or path == ":memory:":
        raise SettingError(NAME, f"{ALLOWED}. An SQLite address names a file and takes no options.")
    return {
        "ENGINE": "duely.core.sqlite",
        "NAME": str(Path(path).absolute()),
        # Opening costs more than a query: a thread keeps its connection.
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "timeout": SQLITE_TIMEOUT_SECONDS,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        },
    }


def _postgres(url: str, *, threads: int) -> dict[str, Any]:
    try:
        parts = urlsplit(url)
        port = parts.port
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise SettingError(NAME, f"{ALLOWED}; percent-encode special characters in the password.") from None
    name = unquote(parts.path.removeprefix("/"))
    if not name or "/" in name or parts.fragment:
        raise SettingError(NAME, f"{ALLOWED}; the name of the database is missing.")
    options = dict(query)
    host = options.pop("host", None) or unquote(parts.hostname or "")
    unknown = sorted(set(options) - POSTGRES_OPTIONS)
    if unknown:
        raise SettingError(
            NAME, f"the option {unknown[0]!r} is not supported; allowed: host, {', '.join(sorted(POSTGRES_OPTIONS))}."
        )
    return {
        "ENGINE": "duely.core.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(port or ""),
        "OPTIONS": {
            **options,
            "application_name": "duely",
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "keepalives_idle": 30,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
            "options": " ".join(f"-c {name}={value}" for name, value in SESSION_OPTIONS.items()),
            "pool": {
                "min_size": 1,
                "max_size": max(threads, 2),
                "timeout": CONNECT_TIMEOUT_SECONDS,
                "max_idle": 60,
                # The pool's own patience doubles up to minutes: after an outage of 30 s it was 24 s late to notice the
                # server's return. Giving up early makes each request try anew.
                "reconnect_timeout": 1,
            },
        },
    }
