"""A full disk: what is refused, what still works, and how it ends."""

from pathlib import Path

import pytest
from django.db import connection

from cast import PASSWORD, Api, alice
from duely.guard import space
from duely.guard.space import RESERVE_BYTES, Space

EVERYTHING = 2**62
"""More bytes than any disk has."""


@pytest.fixture
def space_with_reserve(tmp_path: Path) -> Space:
    """The space beside a file, with its reserve."""
    space_with_reserve = Space(tmp_path / "duely.sqlite3")
    space_with_reserve.check()
    return space_with_reserve


def reserve_of(directory: Path) -> Path:
    return directory / "duely.sqlite3.reserve"


def test_the_reserve_occupies_its_blocks(space_with_reserve: Space, tmp_path: Path) -> None:
    assert reserve_of(tmp_path).stat().st_blocks * 512 >= RESERVE_BYTES
    assert not space_with_reserve.is_full
    space_with_reserve.check()
    assert not space_with_reserve.is_full


def test_the_reserve_is_removed_when_the_disk_is_full(
    space_with_reserve: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr(space, "LOW_BYTES", EVERYTHING)
        full.setattr(space, "ROOM_BYTES", EVERYTHING)
        space_with_reserve.check()
        assert space_with_reserve.is_full
        assert not reserve_of(tmp_path).exists()
        other = Space(tmp_path / "duely.sqlite3")  # of another process, which finds no reserve
        other.check()
        assert other.is_full
    space_with_reserve.check()
    assert not space_with_reserve.is_full
    assert reserve_of(tmp_path).exists()


def test_a_small_disk_has_no_reserve_and_is_not_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "ROOM_BYTES", EVERYTHING)
    small = Space(tmp_path / "duely.sqlite3")
    small.check()
    assert not small.is_full
    assert not reserve_of(tmp_path).exists()


def test_a_missing_directory_changes_nothing(tmp_path: Path) -> None:
    gone = Space(tmp_path / "gone" / "duely.sqlite3")
    gone.check()
    assert not gone.is_full


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    full = Space(tmp_path / "duely.sqlite3")
    full.is_full = True
    monkeypatch.setattr(space, "_space", full)


@pytest.mark.django_db
def test_a_full_disk_allows_reads_sign_in_and_deletions(request: pytest.FixtureRequest) -> None:
    me = Api(alice())
    task = me.post("tasks/", {"title": "Milk"}).json()["id"]
    request.getfixturevalue("full_disk")
    for method, path, body in (("post", "tasks/", {"title": "Bread"}), ("patch", f"tasks/{task}/", {"title": "Jam"})):
        refused = getattr(me, method)(path, body)
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert "disk" in refused.json()["detail"]
        assert refused.headers["Retry-After"] == "1"
    assert me.get("tasks/").status_code == 200
    assert me.post("auth/login/", {"username": me.user.username, "password": PASSWORD}).status_code == 200
    assert me.delete(f"tasks/{task}/").status_code == 204


@pytest.mark.usefixtures("committed_db")
def test_a_write_without_space_is_refused_and_stores_nothing() -> None:
    me = Api(alice())
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA freelist_count")
            free_pages = cursor.fetchone()[0]
            # Pages that earlier tests left free would be used first.
            cursor.execute("CREATE TABLE filling (content BLOB)")
            cursor.execute(f"INSERT INTO filling VALUES (zeroblob({4096 * (free_pages + 1)}))")
            cursor.execute("PRAGMA page_count")
            cursor.execute(f"PRAGMA max_page_count = {cursor.fetchone()[0]}")
        else:
            cursor.execute(
                "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;"
                "CREATE TRIGGER fill BEFORE INSERT ON tasks_task EXECUTE FUNCTION fill()"
            )
    try:
        refused = me.post("tasks/", {"title": "Milk", "description": "x" * 9000})
    finally:
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.execute("PRAGMA max_page_count = 4294967294")
            else:
                cursor.execute("DROP FUNCTION fill CASCADE")
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert "disk" in refused.json()["detail"]
    assert me.get("tasks/").json()["data"] == []
    assert me.post("tasks/", {"title": "Milk"}).status_code == 201
