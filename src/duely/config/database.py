"""Translates DATABASE_URL to an entry of Django's DATABASES."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from duely.config.env import SettingError

NAME = "DATABASE_URL"
ALLOWED = (
    "must be sqlite:///relative/file, sqlite:////absolute/file or postgres://user:password@host:5432/database; "
    "several PostgreSQL servers are host1:5432,host2:5432"
)

# Options that a PostgreSQL address may have. Others could override the settings below without notice.
POSTGRES_OPTIONS = frozenset(
    {"sslmode", "sslrootcert", "sslcert", "sslkey", "sslnegotiation", "channel_binding", "target_session_attrs"}
)
# Duely writes, so it must not connect to a read-only server.
WRITING_SERVERS = frozenset({"any", "read-write", "primary"})
DEFAULT_PORT = "5432"
SQLITE_TIMEOUT_SECONDS = 5
CONNECT_TIMEOUT_SECONDS = 2
SESSION_SETTINGS = {
    "statement_timeout": "5s",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "10s",
    # With the default of 4, which is for spinning disks, PostgreSQL searches the newest tasks of all owners for the
    # list of one owner (decision 0022).
    "random_page_cost": "1.1",
}


def from_url(url: str, *, threads: int) -> dict[str, Any]:
    """The entry of DATABASES for a URL.

    threads: threads of a process that need a connection at the same time; the size of the PostgreSQL pool.
    Raises SettingError for an invalid URL. The message never contains the password.
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
        "ENGINE": "duely.database.sqlite",
        "NAME": str(Path(path).absolute()),
        # A thread keeps its connection, because opening one costs more than a query.
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
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise SettingError(NAME, f"{ALLOWED}; percent-encode special characters in the password.") from None
    name = unquote(parts.path.removeprefix("/"))
    if not name or "/" in name or parts.fragment:
        raise SettingError(NAME, f"{ALLOWED}; the name of the database is missing.")
    user_and_password, _, servers = parts.netloc.rpartition("@")
    user, _, password = user_and_password.partition(":")
    hosts, ports = _servers(servers)
    options = dict(query)
    host = options.pop("host", None) or hosts
    unknown = sorted(set(options) - POSTGRES_OPTIONS)
    if unknown:
        raise SettingError(
            NAME, f"the option {unknown[0]!r} is not supported; allowed: host, {', '.join(sorted(POSTGRES_OPTIONS))}."
        )
    if options.setdefault("target_session_attrs", "read-write" if "," in host else "any") not in WRITING_SERVERS:
        raise SettingError(NAME, f"target_session_attrs must be one of {', '.join(sorted(WRITING_SERVERS))}.")
    return {
        "ENGINE": "duely.database.postgresql",
        "NAME": name,
        "USER": unquote(user),
        "PASSWORD": unquote(password),
        "HOST": host,
        "PORT": ports,
        "OPTIONS": {
            **options,
            "application_name": "duely",
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "keepalives_idle": 30,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
            "session_settings": SESSION_SETTINGS,
            "pool": {
                "min_size": 1,
                "max_size": max(threads, 2),
                "timeout": CONNECT_TIMEOUT_SECONDS,
                "max_idle": 60,
                # By default the pool doubles its waits up to minutes: after an outage of 30 s it noticed the server's
                # return 24 s late. With 1 s each request starts a new attempt.
                "reconnect_timeout": 1,
            },
        },
    }


def _servers(text: str) -> tuple[str, str]:
    """The hosts and the ports of `host1:5432,host2,[::1]:5433`, each as a list with commas for libpq."""
    hosts, ports = [], []
    for server in text.split(","):
        match = _SERVER.fullmatch(server)
        if match is None or int(match["port"] or DEFAULT_PORT) > LARGEST_PORT:
            raise SettingError(NAME, f"{ALLOWED}; a server must be host or host:port.")
        hosts.append(unquote(match["address"] or match["host"]))
        ports.append(match["port"] or "")
    if len(hosts) == 1:
        return hosts[0], ports[0]
    if not all(hosts):
        raise SettingError(NAME, f"{ALLOWED}; one of several hosts has no name.")
    return ",".join(hosts), ",".join(port or DEFAULT_PORT for port in ports)


LARGEST_PORT = 65_535
_SERVER = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\],@]*))(?::(?P<port>[1-9][0-9]{0,4}))?")
