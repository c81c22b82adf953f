"""The commands that do one thing and end."""

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from duely import __version__
from programs import DUELY, USUAL_LIMITS, Server, environment, free_port, made_up_password, run

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]
NOWHERE = "postgres://nobody:hunter2@127.0.0.1:1/nothing"


def test_the_version_is_printed_without_loading_django(tmp_path: Path) -> None:
    done = run(tmp_path, "--version", database_url="nonsense://")
    assert (done.returncode, done.stdout) == (0, f"duely {__version__}\n")


def test_help_names_every_command(tmp_path: Path) -> None:
    done = run(tmp_path, "--help", database_url="nonsense://")
    assert done.returncode == 0
    for command in ("serve", "web", "migrate", "createadmin", "doctor", "manage"):
        assert f"\n  {command} " in done.stdout


def test_an_unknown_command_is_wrong_use(tmp_path: Path) -> None:
    assert run(tmp_path, "sevre", database_url="nonsense://").returncode == 2


def test_a_bad_setting_is_told_in_one_sentence(tmp_path: Path) -> None:
    for command in ("serve", "web", "migrate", "doctor", "createadmin"):
        done = run(tmp_path, command, database_url="mysql://a@b/c")
        assert done.returncode == 2, command
        assert done.stderr.startswith("duely: DATABASE_URL: must be ")
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["serve", "migrate", "createadmin"])
def test_a_database_out_of_reach_is_told_in_one_sentence(tmp_path: Path, command: str) -> None:
    done = run(tmp_path, command, database_url=NOWHERE)
    assert done.returncode == 3
    assert done.stderr.startswith("duely: The database cannot be used: ")
    assert "Connection refused" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert len(done.stderr.splitlines()) == 1


def test_doctor_tells_a_database_out_of_reach_and_goes_on_with_the_rest(tmp_path: Path) -> None:
    done = run(tmp_path, "doctor", database_url=NOWHERE)
    assert done.returncode == 1
    assert "wrong    Database: PostgreSQL nothing on 127.0.0.1:1: " in done.stdout
    assert "ok       Disk: " in done.stdout
    assert "hunter2" not in done.stderr + done.stdout


def test_doctor_leads_from_an_empty_directory_to_a_sound_installation(tmp_path: Path, fresh_database_url: str) -> None:
    before = run(tmp_path, "doctor", database_url=fresh_database_url)
    assert before.returncode == 1
    assert "Run: duely migrate" in before.stdout
    assert run(tmp_path, "migrate", database_url=fresh_database_url).returncode == 0
    between = run(tmp_path, "doctor", database_url=fresh_database_url)
    assert between.returncode == 0, between.stdout
    assert "warning  Administrator: there is none. Run: duely createadmin" in between.stdout
    assert run(tmp_path, "createadmin", "--generate", database_url=fresh_database_url).returncode == 0
    assert "limits are off" in between.stdout
    after = run(tmp_path, "doctor", database_url=fresh_database_url, **USUAL_LIMITS)
    assert after.returncode == 0
    assert {line.split()[0] for line in after.stdout.splitlines()} == {"ok"}


def test_doctor_sees_a_damaged_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/duely.sqlite3"
    assert run(tmp_path, "migrate", database_url=url).returncode == 0
    with sqlite3.connect(tmp_path / "duely.sqlite3") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    content = bytearray((tmp_path / "duely.sqlite3").read_bytes())
    content[size * 3 : size * 9] = b"\xff" * size * 6
    (tmp_path / "duely.sqlite3").write_bytes(content)
    done = run(tmp_path, "doctor", database_url=url)
    assert done.returncode == 1
    assert "restore a backup" in done.stdout


def test_doctor_advises_against_what_works_but_should_not_be(tmp_path: Path, fresh_database_url: str) -> None:
    (tmp_path / ".env").write_text("PROT=8100\n")
    done = run(tmp_path, "doctor", database_url=fresh_database_url, PUBLIC_URL="http://tasks.example.org")
    assert ".env sets what does not exist: PROT. Correct the spelling." in done.stdout
    assert "http://tasks.example.org carries passwords unencrypted." in done.stdout


def test_migrating_twice_changes_nothing(tmp_path: Path, fresh_database_url: str) -> None:
    first = run(tmp_path, "migrate", database_url=fresh_database_url)
    assert "Applied accounts.0001" in first.stdout
    second = run(tmp_path, "migrate", database_url=fresh_database_url)
    assert (second.returncode, second.stdout) == (0, "The database is up to date.\n")


def test_of_many_that_migrate_at_once_one_does_it(tmp_path: Path, fresh_database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: run(tmp_path, "migrate", database_url=fresh_database_url), range(4)))
    assert [(each.returncode, each.stderr) for each in done] == [(0, "")] * 4
    assert sum("Applied" in each.stdout for each in done) == 1
    assert sum(each.stdout.endswith("The database is up to date.\n") for each in done) == 3


def test_createadmin_takes_its_values_from_options_and_settings(tmp_path: Path, fresh_database_url: str) -> None:
    run(tmp_path, "migrate", database_url=fresh_database_url)
    done = run(
        tmp_path,
        "createadmin",
        "--username",
        "ada",
        database_url=fresh_database_url,
        ADMIN_EMAIL="ada@example.org",
        ADMIN_PASSWORD="a long enough sentence",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ada is an administrator now.\n", "")


def test_createadmin_makes_a_password_up_when_nobody_is_there_to_ask(tmp_path: Path, fresh_database_url: str) -> None:
    run(tmp_path, "migrate", database_url=fresh_database_url)
    done = run(tmp_path, "createadmin", database_url=fresh_database_url)
    assert done.returncode == 0
    assert done.stdout.startswith("admin is an administrator now.\n")
    assert made_up_password(done.stdout)


def test_createadmin_says_what_is_wrong_with_the_values(tmp_path: Path, fresh_database_url: str) -> None:
    run(tmp_path, "migrate", database_url=fresh_database_url)
    done = run(tmp_path, "createadmin", "--email", "nonsense", database_url=fresh_database_url, ADMIN_PASSWORD="short")
    assert done.returncode == 1
    assert done.stderr.startswith("duely: the administrator could not be made. ")
    assert "email: " in done.stderr
    assert "password: " in done.stderr
    assert "short" not in done.stderr.replace("too short", "")


def test_manage_passes_everything_to_django(tmp_path: Path, fresh_database_url: str) -> None:
    check = ("manage", "check", "--fail-level", "WARNING")
    done = run(tmp_path, *check, database_url=fresh_database_url, **USUAL_LIMITS)
    assert done.returncode == 0, done.stderr
    help_page = run(tmp_path, "manage", "migrate", "--help", database_url=fresh_database_url)
    assert "--fake-initial" in help_page.stdout


def test_a_reader_that_leaves_early_is_no_crash(tmp_path: Path, fresh_database_url: str) -> None:
    process = subprocess.Popen(
        [*DUELY, "doctor"],
        cwd=tmp_path,
        env=environment(fresh_database_url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors


@pytest.mark.parametrize("command", ["serve", "migrate", "createadmin", "worker"])
def test_a_file_that_is_no_database_is_told_in_one_sentence(tmp_path: Path, command: str) -> None:
    (tmp_path / "notes.txt").write_text("no database at all, and long enough to be looked at\n" * 100)
    done = run(tmp_path, command, database_url=f"sqlite:///{tmp_path}/notes.txt", PORT=str(free_port()))
    assert done.returncode == 3, done.stderr
    assert "file is not a database" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert (tmp_path / "notes.txt").read_text().startswith("no database at all")


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_folder_that_cannot_be_written_is_told_in_one_sentence(tmp_path: Path, command: str) -> None:
    (tmp_path / "duely.sqlite3.migrate.lock").mkdir()  # as good as a folder that is read-only, also for root
    done = run(tmp_path, command, database_url=f"sqlite:///{tmp_path}/duely.sqlite3", PORT=str(free_port()))
    assert done.returncode == 3, done.stderr
    assert "duely.sqlite3.migrate.lock cannot be written" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_an_empty_database_is_told_with_what_to_do(tmp_path: Path, fresh_database_url: str) -> None:
    done = run(tmp_path, "createadmin", database_url=fresh_database_url)
    assert (done.returncode, done.stderr) == (3, "duely: The database is not up to date. Run: duely migrate\n")


def test_createadmin_for_scripts_makes_the_first_one_only(tmp_path: Path, fresh_database_url: str) -> None:
    assert run(tmp_path, "migrate", database_url=fresh_database_url).returncode == 0

    first = run(tmp_path, "createadmin", "--if-none", database_url=fresh_database_url)
    again = run(tmp_path, "createadmin", "--if-none", database_url=fresh_database_url)

    assert made_up_password(first.stdout)
    assert first.returncode == again.returncode == 0
    assert again.stdout == "There is an administrator already; nothing was changed.\n"


def test_web_says_what_an_empty_database_lacks(tmp_path: Path, fresh_database_url: str) -> None:
    for hint in ("run: duely migrate", "duely createadmin"):
        server = Server(tmp_path, "web", database_url=fresh_database_url)
        try:
            server.wait_until_it_answers()
            assert hint in server.out.read_text()
            assert server.stop() == 0
        finally:
            server.clean_up()
        assert run(tmp_path, "migrate", database_url=fresh_database_url).returncode == 0


def test_the_commands_can_be_imported_before_the_settings() -> None:
    names = ("main", "serve", "supervisor", "web", "stopping", "worker", "health")
    script = "; ".join(f"import duely.cli.{name}" for name in names)
    without_settings = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}

    result = subprocess.run(
        [sys.executable, "-c", script], env=without_settings, capture_output=True, text=True, check=False
    )

    assert (result.returncode, result.stderr) == (0, "")
