"""One secret key for all nodes: real processes on one database."""

from pathlib import Path
from typing import Any

import pytest

from programs import Server, free_port, run

pytestmark = pytest.mark.process

OTHER = "kZ4vT8xQ2mW6nB0cR5yH9jL3pF7gD1sA-of-another-node"


@pytest.fixture
def nodes(tmp_path: Path, fresh_database_url: str) -> list[Any]:
    """Directories of two nodes without SECRET_KEY; the first has migrated."""
    directories = [tmp_path / "first", tmp_path / "second"]
    for directory in directories:
        directory.mkdir()
    assert run(directories[0], "migrate", database_url=fresh_database_url).returncode == 0
    return directories


def key_of(directory: Path) -> str:
    return (directory / "data" / "secret_key").read_text().strip()


@pytest.mark.parametrize("command", ["serve", "web", "worker", "scheduler", "migrate"])
def test_a_node_with_another_key_refuses_to_start(command: str, nodes: list[Path], fresh_database_url: str) -> None:
    ended = run(nodes[1], command, database_url=fresh_database_url, PORT=str(free_port()))

    assert ended.returncode == 2
    assert "SECRET_KEY: the database belongs to another key" in ended.stderr
    assert "Give every node the same SECRET_KEY" in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout
    assert key_of(nodes[0]) not in ended.stderr + ended.stdout


def test_a_node_with_the_same_key_starts(nodes: list[Path], fresh_database_url: str) -> None:
    ended = run(nodes[1], "migrate", database_url=fresh_database_url, SECRET_KEY=key_of(nodes[0]))

    assert (ended.returncode, ended.stderr) == (0, "")


def test_two_nodes_do_not_serve_one_database_with_two_keys(nodes: list[Path], fresh_database_url: str) -> None:
    first = Server(nodes[0], "web", database_url=fresh_database_url)
    try:
        first.wait_until_it_answers()
        second = run(nodes[1], "web", database_url=fresh_database_url, PORT=str(free_port()))
        assert second.returncode == 2
        assert first.get("/readyz") == 200
    finally:
        first.clean_up()


def test_a_key_is_rotated_with_fallbacks(nodes: list[Path], fresh_database_url: str) -> None:
    new: dict[str, Any] = {"database_url": fresh_database_url, "SECRET_KEY": OTHER}
    assert run(nodes[0], "migrate", **new, SECRET_KEY_FALLBACKS=key_of(nodes[0])).returncode == 0

    assert run(nodes[0], "migrate", **new).returncode == 0
    assert run(nodes[0], "migrate", database_url=fresh_database_url).returncode == 2
    doctor = run(nodes[0], "doctor", **new).stdout
    assert "ok       Fingerprint: of the secret key:" in doctor
    doctor = run(nodes[0], "doctor", database_url=fresh_database_url)
    assert "wrong    Fingerprint: the database belongs to another secret key" in doctor.stdout
    assert "duely migrate --adopt-key" in doctor.stdout


def test_a_lost_key_is_replaced_on_purpose(nodes: list[Path], fresh_database_url: str) -> None:
    adopted = run(nodes[1], "migrate", "--adopt-key", database_url=fresh_database_url)

    assert adopted.returncode == 0
    assert "The database belongs to this secret key now" in adopted.stdout
    assert run(nodes[1], "migrate", database_url=fresh_database_url).returncode == 0
    assert run(nodes[0], "migrate", database_url=fresh_database_url).returncode == 2


def test_a_weak_key_in_the_file_refuses_to_start(nodes: list[Path], fresh_database_url: str) -> None:
    file = nodes[0] / "data" / "secret_key"
    file.write_text("short\n")

    ended = run(nodes[0], "migrate", database_url=fresh_database_url)

    assert ended.returncode == 2
    assert f"DATA_DIR: {file} holds a weak or known key. Remove the file and run: duely migrate" in ended.stderr
    file.unlink()
    assert run(nodes[0], "migrate", "--adopt-key", database_url=fresh_database_url).returncode == 0
