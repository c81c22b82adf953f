"""The README's tour, copied literally, against a server that was just started."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from programs import Server, environment

README = Path(__file__).parents[1] / "README.md"

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]


def tour() -> str:
    blocks = re.findall(r"^```sh tour\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    return "set -eu\n" + "\necho\n".join(blocks)


def test_the_tour_works_as_it_is_written(tmp_path: Path, fresh_database_url: str) -> None:
    server = Server(tmp_path, "serve", database_url=fresh_database_url)
    try:
        server.wait_until_it_answers()
        script = tour().replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
        done = subprocess.run(
            ["bash", "-c", script], env=environment(""), capture_output=True, text=True, timeout=60, check=False
        )
    finally:
        server.stop()
        server.clean_up()
    assert done.returncode == 0, done.stderr
    decoder, answers, text = json.JSONDecoder(), [], done.stdout.strip()
    while text:
        answer, end = decoder.raw_decode(text)
        answers.append(answer)
        text = text[end:].strip()
    user, tasks, completed, log = answers
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
