"""Make clients of the OpenAPI document with the programs that people use, check their types, and drive a server.

A warning of such a program, a wrong type and an answer that a client does not understand are failures. What cannot be
installed here (no Node.js, no package registry) is skipped, and said so.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from programs import Server, run  # noqa: E402

OUT, VENV = HERE / "out", HERE / "venv"
OLDEST_NODE = 20
OUT_OF_REACH = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ENOTCACHED"
    r"|Temporary failure in name resolution|NewConnectionError|ConnectTimeoutError|Network is unreachable"
    r"|dns error|tcp connect error"
)
"""What npm, pip and uv say when there is no registry to be had."""
WARNING = re.compile(r"\bwarn(ing)?s?\b|\berror\b|⚠|❌", re.IGNORECASE)


class Skipped(Exception):
    """A part that cannot be tried here, and why."""


class Failed(Exception):
    """A part that does not work, with what a command said."""


def call(*command: str | Path, **environment: str) -> str:
    """What a command prints. Raises Failed."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=HERE,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failed(f"{done.stdout}\n{' '.join(map(str, command))} failed with {done.returncode}.")
    return done.stdout


def install(mark: Path, lock: Path, *commands: list[str | Path]) -> None:
    """Install what a lock file names, unless that is done already. Raises Skipped when there is no registry, or Failed."""
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if mark.exists() and mark.read_text() == digest:
        return
    for command in commands:
        done = subprocess.run(
            list(map(str, command)), cwd=HERE, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = done.stdout + done.stderr
            if found := OUT_OF_REACH.search(said):
                raise Skipped(f"{command[0]} reaches no package registry ({found[0]})")
            raise Failed(f"{said}\n{' '.join(map(str, command))} failed with {done.returncode}.")
    mark.write_text(digest)


def generate(*command: str | Path, **environment: str) -> None:
    """Run a program that makes a client. Raises Failed, also for a warning."""
    said = call(*command, **environment)
    if WARNING.search(said):
        raise Failed(f"{said}\n{' '.join(map(str, command))} has a warning.")


@contextmanager
def step(name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    print(f"  {name}: {time.monotonic() - started:.0f} s", flush=True)


def typescript(url: str) -> None:
    """openapi-typescript with openapi-fetch, orval, and @hey-api/openapi-ts."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Skipped("Node.js with npm is not installed")
    version = call(node, "--version").strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        raise Skipped(f"Node.js {OLDEST_NODE} or newer is needed, and this is {version}")
    modules = HERE / "node_modules"
    with step("packages from npm"):
        install(
            modules / ".done", HERE / "package-lock.json", [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        )
    programs = modules / ".bin"
    with step("openapi-typescript, orval and @hey-api/openapi-ts"):
        generate(programs / "openapi-typescript", "out/openapi.json", "-o", "out/openapi-typescript/schema.ts")
        generate(programs / "orval", "--config", "./orval.config.cjs", DUELY_URL=url)
        hey = ("-i", "./out/openapi.json", "-o", "out/hey-api", "-c", "@hey-api/client-fetch", "--no-log-file")
        generate(programs / "openapi-ts", *hey)
    with step("tsc --strict"):
        call(programs / "tsc", "--project", "tsconfig.json")
    with step("three clients against a running server"):
        for name in ("drive_openapi_fetch", "drive_orval", "drive_hey_api"):
            call(node, OUT / "js" / f"{name}.js", DUELY_URL=url)


def python(url: str) -> None:
    """openapi-python-client."""
    requirements = HERE / "requirements.txt"
    with step("packages from PyPI"):
        target, uv = VENV / "bin" / "python", Path(sys.executable).with_name("uv")
        pip: list[str | Path] = [target, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        if uv.exists():  # in less than half the time
            pip = [uv, "pip", "install", "--quiet", "--python", target]
        install(
            VENV / ".done",
            requirements,
            [sys.executable, "-m", "venv", "--clear", VENV],
            [*pip, "--require-hashes", "--requirement", requirements],
        )
    with step("openapi-python-client"):
        path = f"{VENV / 'bin'}{os.pathsep}{os.environ['PATH']}"  # it formats what it makes with ruff
        maker = VENV / "bin" / "openapi-python-client"
        to = ("--path", "out/openapi.json", "--output-path", "out/python", "--overwrite", "--fail-on-warning")
        generate(maker, "generate", *to, PATH=path)
    with step("mypy --strict"):
        checked = ("drive_python.py", "out/python/duely_client")
        call(VENV / "bin" / "mypy", "--config-file", "mypy.ini", *checked, MYPYPATH=str(OUT / "python"))
    with step("its client against a running server"):
        call(VENV / "bin" / "python", "drive_python.py", DUELY_URL=url, PYTHONPATH=str(OUT / "python"))


@contextmanager
def server() -> Iterator[str]:
    """A Duely of its own on SQLite; gives its address."""
    with tempfile.TemporaryDirectory() as directory:
        database = f"sqlite:///{directory}/duely.db"
        migrated = run(Path(directory), "migrate", database_url=database)
        if migrated.returncode:
            sys.exit(migrated.stdout + migrated.stderr)
        duely = Server(Path(directory), "web", database_url=database, WEB_CONCURRENCY="1")
        try:
            duely.wait_until_it_answers()
            yield f"http://127.0.0.1:{duely.port}"
        finally:
            duely.clean_up()


def tried(language: str, part: Callable[[str], None], url: str) -> bool:
    """Try the clients in one language; say what failed. Returns whether all is well."""
    try:
        part(url)
    except Skipped as why:
        print(f"SKIPPED, clients in {language}: {why}.", flush=True)
    except Failed as fault:
        print(f"FAILED, clients in {language}:\n{fault}", flush=True)
        return False
    return True


def main() -> None:
    started = time.monotonic()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    with server() as url, ThreadPoolExecutor() as side_by_side:
        with urllib.request.urlopen(f"{url}/api/v1/schema/", timeout=30) as answer:
            (OUT / "openapi.json").write_text(json.dumps(json.load(answer)))
        results = [*side_by_side.map(tried, ("TypeScript", "Python"), (typescript, python), (url, url))]
    print(f"Clients made of the OpenAPI document: {time.monotonic() - started:.0f} s in all")
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
