from pathlib import Path

import pytest

from duely.config import database
from duely.config.env import SettingError


def test_sqlite_takes_relative_and_absolute_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert database.from_url("sqlite:///a.sqlite3", threads=2)["NAME"] == str(tmp_path / "a.sqlite3")
    assert database.from_url("sqlite:////srv/my%20data/a.sqlite3", threads=2)["NAME"] == "/srv/my data/a.sqlite3"


def test_sqlite_waits_and_never_loses_what_it_confirmed() -> None:
    options = database.from_url("sqlite:////srv/a.sqlite3", threads=2)["OPTIONS"]
    assert options["transaction_mode"] == "IMMEDIATE"
    assert options["timeout"] == 5
    assert "journal_mode=WAL" in options["init_command"]
    assert "synchronous=FULL" in options["init_command"]


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "PostgreSQL"])
def test_a_postgres_address_is_taken_apart_and_decoded(scheme: str) -> None:
    found = database.from_url(
        f"{scheme}://du%40ely:p%3A%2Fss@db.example.org:5433/my%2Ddb?sslmode=verify-full", threads=4
    )
    assert found["ENGINE"] == "duely.database.postgresql"
    assert (found["USER"], found["PASSWORD"]) == ("du@ely", "p:/ss")
    assert (found["HOST"], found["PORT"], found["NAME"]) == ("db.example.org", "5433", "my-db")
    assert found["OPTIONS"]["sslmode"] == "verify-full"
    assert found["OPTIONS"]["pool"]["max_size"] == 4


def test_a_postgres_socket_directory_is_given_as_host() -> None:
    found = database.from_url("postgres://duely@/duely?host=/var/run/postgresql", threads=2)
    assert (found["HOST"], found["PORT"], found["PASSWORD"]) == ("/var/run/postgresql", "", "")


def test_postgres_never_waits_for_long() -> None:
    options = database.from_url("postgres://a@b/c", threads=2)["OPTIONS"]
    assert options["connect_timeout"] == 2
    settings = options["session_settings"]
    assert (settings["statement_timeout"], settings["lock_timeout"]) == ("5s", "1s")
    assert "idle_in_transaction_session_timeout" in settings


@pytest.mark.parametrize(
    "servers, hosts, ports",
    [
        ("h1:5432,h2:5433", "h1,h2", "5432,5433"),
        ("h1,h2:5433", "h1,h2", "5432,5433"),
        ("[::1]:5433,db.example.org", "::1,db.example.org", "5433,5432"),
    ],
)
def test_several_postgres_servers_are_handed_on_to_libpq(servers: str, hosts: str, ports: str) -> None:
    found = database.from_url(f"postgres://u:p%40@{servers}/db", threads=2)
    assert (found["HOST"], found["PORT"], found["USER"], found["PASSWORD"]) == (hosts, ports, "u", "p@")
    assert found["OPTIONS"]["target_session_attrs"] == "read-write"


def test_one_postgres_server_may_have_an_ipv6_address() -> None:
    found = database.from_url("postgres://u:p@[2001:db8::1]:5433/db?target_session_attrs=primary", threads=2)
    assert (found["HOST"], found["PORT"]) == ("2001:db8::1", "5433")
    assert found["OPTIONS"]["target_session_attrs"] == "primary"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://a@b/c",
        "data/duely.sqlite3",
        "sqlite://",
        "sqlite:///",
        "sqlite://data.sqlite3",
        "sqlite:///:memory:",
        "sqlite:///a?mode=ro",
        "postgres://a@b",
        "postgres://a@b/",
        "postgres://a@b/c/d",
        "postgres://a@b:port/c",
        "postgres://a@b:0/c",
        "postgres://a@b:65536/c",
        "postgres://a@b:5432,c:x/d",
        "postgres://a@b:5432,/d",
        "postgres://a@,b/d",
        "postgres://a@[::1/d",
        "postgres://a@b/c?target_session_attrs=standby",
        "postgres://a:pw#1@b/c",
        "postgres://a@b/c?options=-c%20statement_timeout%3D0",
        "postgres://a@b/c?sslmode",
    ],
)
def test_an_address_that_makes_no_sense_is_refused_by_name(url: str) -> None:
    with pytest.raises(SettingError, match="DATABASE_URL: "):
        database.from_url(url, threads=2)


def test_a_refusal_never_shows_the_password() -> None:
    for url in ("mysql://u:hunter2@b/c", "postgres://u:hunter2@b", "postgres://u:hunter2#@b/c", "hunter2"):
        with pytest.raises(SettingError) as refusal:
            database.from_url(url, threads=2)
        if url != "hunter2":
            assert "hunter2" not in str(refusal.value)
