"""The settings as a whole, each case in a process of its own, as an operator would start it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json
from duely.config import settings
shown = {name: getattr(settings, name) for name in dir(settings) if name.isupper() and name != "SHOWN"}
shown["database"] = settings.DATABASES["default"]["NAME"]
print(json.dumps(shown, default=str))
"""


def start(directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        cwd=directory,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def settings(directory: Path, **environment: str) -> dict[str, Any]:
    done = start(directory, **environment)
    assert done.returncode == 0, done.stderr
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


def test_no_setting_at_all_gives_a_working_installation_in_the_data_directory(tmp_path: Path) -> None:
    shown = settings(tmp_path)
    assert shown["DEBUG"] is False
    assert shown["PUBLIC_URL"] == "http://127.0.0.1:8000"
    assert shown["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]
    assert shown["database"] == str(tmp_path / "data" / "duely.sqlite3")
    assert shown["SECRET_KEY"] == (tmp_path / "data" / "secret_key").read_text().strip()
    assert shown["SESSION_COOKIE_SECURE"] is False


@pytest.mark.slow
def test_the_example_file_states_every_setting_and_its_true_default(tmp_path: Path) -> None:
    plain = settings(tmp_path)
    example = (ROOT / ".env.example").read_text()
    written = re.sub(r"^# (?=[A-Z_]+=)", "", example, flags=re.MULTILINE)
    (tmp_path / ".env").write_text(written)
    assert settings(tmp_path) == plain
    source = (ROOT / "src/duely/config/settings.py").read_text()
    read = set(re.findall(r'_read\.\w+\(\s*"([A-Z_]+)"', source))
    assert read == set(re.findall(r"^# ([A-Z_]+)=", example, flags=re.MULTILINE))


def test_the_public_address_is_answered_to_and_makes_cookies_secure(tmp_path: Path) -> None:
    shown = settings(tmp_path, PUBLIC_URL="https://tasks.example.org", HOST="0.0.0.0")
    assert "tasks.example.org" in shown["ALLOWED_HOSTS"]
    assert "0.0.0.0" not in shown["ALLOWED_HOSTS"]
    assert shown["SESSION_COOKIE_SECURE"] is True
    assert shown["CSRF_TRUSTED_ORIGINS"] == ["https://tasks.example.org"]


def test_an_ipv6_address_is_written_as_urls_and_host_headers_want_it(tmp_path: Path) -> None:
    shown = settings(tmp_path, HOST="2001:db8::7", PORT="80")
    assert shown["PUBLIC_URL"] == "http://[2001:db8::7]:80"
    assert shown["ALLOWED_HOSTS"] == ["[2001:db8::7]"]


def test_the_dotenv_file_counts_and_its_misspelt_names_are_noticed(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=8100\nPROT=8200\nSECRET_KEY_FILE=\n")
    shown = settings(tmp_path)
    assert shown["PORT"] == 8100
    assert shown["MISSPELT_SETTINGS"] == ["PROT"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment,sentence",
    [
        ({"DEBUG": "maybe"}, "DEBUG: must be true or false, not 'maybe'."),
        ({"DEBUG": "true", "HOST": "0.0.0.0", "PUBLIC_URL": "http://a.example"}, "DEBUG: shows private data"),
        ({"HOST": "0.0.0.0"}, "PUBLIC_URL: is needed when HOST=0.0.0.0"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY: is weak or known"),
        ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS: may not be *"),
        ({"DATABASE_URL": "mysql://u:hunter2@b/c"}, "DATABASE_URL: must be sqlite:///"),
        ({"DEFAULT_ROLE": "admin"}, "DEFAULT_ROLE: must be one of member, intern"),
        ({"ACCESS_TOKEN_MINUTES": "0"}, "ACCESS_TOKEN_MINUTES: must be a whole number from 1 to 1440"),
        ({"LOG_FORMAT": "xml"}, "LOG_FORMAT: must be one of auto, json, console"),
        ({"TRUSTED_PROXIES": "proxy"}, "TRUSTED_PROXIES: must list addresses"),
        ({"TRUSTED_PROXIES": "0.0.0.0/0"}, "TRUSTED_PROXIES: 0.0.0.0/0 holds clients, not only proxies"),
        ({"TRUSTED_PROXIES": "10.0.0.0/8,::/0"}, "TRUSTED_PROXIES: ::/0 holds clients, not only proxies"),
        ({"REFRESH_TOKEN_DAYS": "91"}, "REFRESH_TOKEN_DAYS: must be a whole number from 1 to 90"),
    ],
)
def test_a_bad_value_refuses_the_start_and_makes_nothing(
    tmp_path: Path, environment: dict[str, str], sentence: str
) -> None:
    done = start(tmp_path, **environment)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "hunter2" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_debug_is_welcome_on_this_machine(tmp_path: Path) -> None:
    assert settings(tmp_path, DEBUG="true", SECRET_KEY="short")["DEBUG"] is True
