"""Versions through proxies that compress answers, and change their entity tags in doing so."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from programs import Server, free_port, run, until

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]

PASSWORD = "a long enough sentence"
ADMIN = {"ADMIN_USERNAME": "ada", "ADMIN_EMAIL": "ada@example.org", "ADMIN_PASSWORD": PASSWORD}
PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
APACHE_MODULES = Path("/usr/lib/apache2/modules")

NGINX = """
daemon off; master_process off; pid {directory}/pid; error_log stderr;
events {{}}
http {{
  access_log off; gzip on; gzip_types application/json; gzip_min_length 1; gzip_proxied any;
  client_body_temp_path {directory}/1; proxy_temp_path {directory}/2; fastcgi_temp_path {directory}/3;
  uwsgi_temp_path {directory}/4; scgi_temp_path {directory}/5;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{upstream}; proxy_set_header Host $http_host; }}
  }}
}}
"""
APACHE = """
ServerRoot {directory}
ServerName localhost
PidFile {directory}/pid
ErrorLog {directory}/log
Listen 127.0.0.1:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
LoadModule filter_module {modules}/mod_filter.so
LoadModule deflate_module {modules}/mod_deflate.so
ProxyPass / http://127.0.0.1:{upstream}/
ProxyPreserveHost On
AddOutputFilterByType DEFLATE application/json
"""

Arguments = Callable[[Path], list[str]]
PROXIES: dict[str, tuple[str, str, Arguments, str]] = {
    "nginx": (
        "nginx",
        NGINX,
        lambda directory: ["-p", str(directory), "-c", str(directory / "conf"), "-e", "stderr"],
        'W/"{version}"',
    ),
    "apache": (
        "apache2",
        APACHE,
        lambda directory: ["-X", "-f", str(directory / "conf")],
        '"{version}-gzip"',
    ),
}
"""Name → program, configuration, arguments, and what it makes of the entity tag of a version."""


@pytest.fixture
def upstream(tmp_path: Path, fresh_database_url: str) -> Iterator[Server]:
    assert run(tmp_path, "migrate", database_url=fresh_database_url).returncode == 0
    assert run(tmp_path, "createadmin", database_url=fresh_database_url, **ADMIN).returncode == 0
    server = Server(tmp_path, "web", database_url=fresh_database_url, WEB_CONCURRENCY="1")
    server.wait_until_it_answers()
    yield server
    server.clean_up()


class Client:
    """Calls through a proxy, as browsers make them: compressed answers are welcome."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}/api/v1/"
        self.headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip, br"}

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
        """(status, headers, JSON) of one call."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {**self.headers, **named}, method=method)
        try:
            answer = urllib.request.urlopen(request, timeout=20)
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            content = answer.read()
            if answer.headers.get("Content-Encoding") == "gzip":
                content = gzip.decompress(content)
            return answer.status, answer.headers, json.loads(content) if content else None


@pytest.fixture(params=PROXIES)
def proxied(request: pytest.FixtureRequest, tmp_path: Path, upstream: Server) -> Iterator[tuple[Client, str]]:
    """A client who signed in through a proxy, and the form of the tags that it gets."""
    name, text, arguments, form = PROXIES[request.param]
    program = shutil.which(name, path=PATH)
    if program is None or (name == "apache2" and not (APACHE_MODULES / "mod_deflate.so").exists()):
        pytest.skip(f"{name} is not installed here: sudo apt-get install nginx-light apache2-bin")
    port = free_port()
    directory = tmp_path / name
    directory.mkdir()
    settings = {"directory": directory, "port": port, "upstream": upstream.port, "modules": APACHE_MODULES}
    (directory / "conf").write_text(text.format(**settings))
    process = subprocess.Popen(
        [program, *arguments(directory)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    try:
        client = Client(port)

        def answers() -> bool:
            assert process.poll() is None, f"{name} ended with {process.returncode}"
            try:
                return client.call("GET", "")[0] == 200
            except OSError:
                return False

        until(answers)
        pair = client.call("POST", "auth/login/", {"username": "ada", "password": PASSWORD})[2]
        client.headers["Authorization"] = f"Bearer {pair['access']}"
        yield client, form
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def test_versions_pass_through_proxies_that_compress(proxied: tuple[Client, str]) -> None:
    client, form = proxied
    task = client.call("POST", "tasks/", {"title": "Milk", "description": "word " * 1000})[2]
    path = f"tasks/{task['id']}/"

    status, headers, _ = client.call("GET", path)
    first = headers["ETag"]
    assert (status, headers["Content-Encoding"], first) == (200, "gzip", form.format(version=1))

    assert client.call("GET", path, If_None_Match=first)[0] == 304
    status, headers, _ = client.call("PATCH", path, {"title": "Bread"}, If_Match=first)
    assert (status, headers["ETag"]) == (200, form.format(version=2))
    status, _, problem = client.call("PATCH", path, {"title": "Salt"}, If_Match=first)
    assert (status, problem["current"]["title"]) == (412, "Bread")


def test_lists_are_not_sent_again_through_proxies(proxied: tuple[Client, str]) -> None:
    client, _ = proxied
    client.call("POST", "categories/", {"name": "Home"})
    # Whoever is not an admin sees only what is theirs, and gets a tag for it.
    account = {"username": "bob", "email": "bob@example.org", "password": PASSWORD}
    assert client.call("POST", "auth/signup/", account)[0] == 201
    pair = client.call("POST", "auth/login/", {"username": "bob", "password": PASSWORD})[2]
    client.headers["Authorization"] = f"Bearer {pair['access']}"
    client.call("POST", "tasks/", {"title": "Milk"})

    tag = client.call("GET", "tasks/")[1]["ETag"]

    assert client.call("GET", "tasks/", If_None_Match=tag)[0] == 304
    client.call("POST", "tasks/", {"title": "Bread"})
    assert client.call("GET", "tasks/", If_None_Match=tag)[0] == 200
