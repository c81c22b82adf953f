"""What a process must not load, because only some installations or some requests need it."""

import subprocess
import sys
from pathlib import Path

import pytest

from programs import environment

pytestmark = pytest.mark.process

NEVER = {"celery", "kombu", "redis", "psycopg", "yaml", "unittest", "duely.cli.demo", "duely.cli.doctor"}
SERVE = """
from duely.cli.serve import load_for_children
django.setup()
load_for_children()
"""
WEB = """
import duely.cli.web, duely.config.wsgi
"""
WORKER = """
import duely.cli.worker
django.setup()
from duely.jobs import registry, worker
registry.known()
"""
COMMAND = """
import duely.cli.main
"""


@pytest.mark.parametrize(
    "program, needless",
    [
        pytest.param(SERVE, NEVER, id="serve"),
        pytest.param(WEB, NEVER, id="web"),
        pytest.param(WORKER, {*NEVER, "granian", "duely.config.urls", "duely.tasks.endpoints"}, id="worker"),
        pytest.param(COMMAND, {*NEVER, "django.conf", "rich", "structlog"}, id="any command"),
    ],
)
def test_what_is_not_needed_is_not_loaded(program: str, needless: set[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import django, sys\n{program}\nprint(*sys.modules)"],
        cwd=tmp_path,
        env=environment(f"sqlite:///{tmp_path}/any.sqlite3", DJANGO_SETTINGS_MODULE="duely.config.settings"),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = set(done.stdout.split())
    assert "duely" in loaded
    assert not loaded & needless
