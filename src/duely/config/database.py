"""DATABASE_URL in, Django's DATABASES entry out."""

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

# What an operator may add to a PostgreSQL address; anything else would silently weaken what is set below.
POSTGRES_OPTIONS = frozenset(
    {"sslmode", "sslrootcert", "sslcert", "sslkey", "sslnegotiation", "channel_binding", "target_session_attrs"}
)
# Duely writes: another value would have it connect to a server that only answers reads.
WRITING_SERVERS = frozenset({"any", "read-write", "primary"})
DEFAULT_PORT = "5432"
SQLITE_TIMEOUT_SECONDS = 5
CONNECT_TIMEOUT_SECONDS = 2
SESSION_SETTINGS = {
    "statement_timeout": "5s",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "10s",
    # PostgreSQL's own 4 is of disks that turn. With it, one owner's list is looked for among everyone's newest tasks.
    # With 4 PostgreSQL reads an owner's list from everyone's tasks, newest first (decision 0022).
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
        "ENGINE": "duely.database.sqlite",
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
                # The pool's own patience doubles up to minutes: after an outage of 30 s it was 24 s late to notice the
                # server's return. Giving up early makes each request try anew.
                "reconnect_timeout": 1,
            },
        },
    }


def _servers(text: str) -> tuple[str, str]:
    """The hosts and ports of `host1:5432,host2,[::1]:5433`, each with commas between them, as libpq takes them."""
    hosts, ports = [], []
    for server in text.split(","):
        found = _SERVER.fullmatch(server)
        if found is None or int(found["port"] or DEFAULT_PORT) > LARGEST_PORT:
            raise SettingError(NAME, f"{ALLOWED}; a server must be host or host:port.")
        hosts.append(unquote(found["address"] or found["host"]))
        ports.append(found["port"] or "")
    if len(hosts) == 1:
        return hosts[0], ports[0]
    if not all(hosts):
        raise SettingError(NAME, f"{ALLOWED}; one of several hosts has no name.")
    return ",".join(hosts), ",".join(port or DEFAULT_PORT for port in ports)


LARGEST_PORT = 65_535
_SERVER = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\],@]*))(?::(?P<port>[1-9][0-9]{0,4}))?")
