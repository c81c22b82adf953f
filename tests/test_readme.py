"""The README's tour, copied literally, against a server that was just started."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from programs import Server, environment, until
from smtp_server import SmtpServer

README = Path(__file__).parents[1] / "README.md"

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]


def tour(name: str, parts: int) -> str:
    blocks = re.findall(rf"^```sh {name}\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == parts
    return "set -eu\n" + "\necho\n".join(blocks)


def answers_in(text: str) -> list[Any]:
    decoder, answers, rest = json.JSONDecoder(), [], text.strip()
    while rest:
        answer, end = decoder.raw_decode(rest)
        answers.append(answer)
        rest = rest[end:].strip()
    return answers


def test_the_blocks_ask_questions_in_any_shell() -> None:
    """In zsh, `read -p` reads from a coprocess."""
    assert not re.search(r"^read .*-p", README.read_text(), re.MULTILINE)


def test_the_tour_works_as_it_is_written(tmp_path: Path, fresh_database_url: str) -> None:
    server = Server(tmp_path, "serve", database_url=fresh_database_url)
    try:
        server.wait_until_it_answers()
        script = tour("tour", 4).replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
        done = subprocess.run(
            ["bash", "-c", script], env=environment(""), capture_output=True, text=True, timeout=60, check=False
        )
    finally:
        server.stop()
        server.clean_up()
    assert done.returncode == 0, done.stderr
    user, tasks, completed, log = answers_in(done.stdout)
    assert user["username"] == "ada"
    assert [task["title"] for task in tasks["data"]] == ["Pay the rent"]
    assert completed["status"] == "completed"
    assert [change["action"] for change in log["data"]] == [
        "task.deleted",
        "task.status_changed",
        "task.created",
        "category.created",
        "auth.login_succeeded",
    ]


def test_the_tour_of_accounts_works_with_the_codes_that_arrive(tmp_path: Path, fresh_database_url: str) -> None:
    with SmtpServer() as mailbox:
        mail = {"EMAIL_URL": f"smtp://127.0.0.1:{mailbox.port}"}
        server = Server(tmp_path, "serve", database_url=fresh_database_url, **mail)
        try:
            server.wait_until_it_answers()
            script = tour("account", 2).replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
            person = subprocess.Popen(
                ["bash", "-c", script],
                env=environment(""),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert person.stdin is not None
            for count in (1, 2):
                until(lambda count=count: len(mailbox.received) >= count)
                text = mailbox.received[-1].part("plain")
                person.stdin.write(re.findall(r"^\s*(\d{6})\s*$", text, re.MULTILINE)[0] + "\n")
                person.stdin.flush()
            out, err = person.communicate(timeout=60)
        finally:
            server.stop()
            server.clean_up()
    assert person.returncode == 0, err
    first, pair, second, done, again = answers_in(out)
    assert first["message"] == "OTP sent successfully"
    assert "code has been sent" in second["message"]
    assert "new password is set" in done["message"]
    assert pair.keys() == again.keys() == {"access", "refresh", "token_type", "expires_in"}
