"""What the product knows and what its pages say are the same."""

import ast
import configparser
import io
import json
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from django.urls import get_resolver

import contract
from cast import alice, bearer
from duely.cli import reference
from duely.core.errors import catalogue

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def known_settings() -> set[str]:
    """Every name that `config/settings.py` asks the environment for."""
    tree = ast.parse((ROOT / "src/duely/config/settings.py").read_text(encoding="utf-8"))
    return {
        call.args[0].value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and getattr(call.func.value, "id", "") == "_read"
        and call.args
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    }


def test_the_settings_are_found() -> None:
    assert {"SECRET_KEY", "DATABASE_URL", "LOG_FORMAT", "ADMIN_PASSWORD"} <= known_settings()


def test_env_example_shows_every_setting_and_no_other() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    shown = [setting.name for setting in reference.settings_of(example)]
    assert sorted(shown) == sorted(known_settings())


def test_env_example_explains_every_setting() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert not [setting.name for setting in reference.settings_of(example) if len(setting.about) < 20]


def test_the_settings_page_has_every_setting() -> None:
    assert not [name for name in known_settings() if f"| `{name}` |" not in page("settings.md")]


def test_the_problems_page_has_every_refusal_with_status_and_title() -> None:
    assert get_resolver().url_patterns
    refusals = catalogue()
    assert {"not_found", "last_admin", "invalid_cursor"} <= refusals.keys()
    text = page("problems.md")
    missing = [
        code for code, refused in refusals.items() if f"| `{code}` | {refused.status} | {refused.title} |" not in text
    ]
    assert not missing


def test_codes_titles_and_statuses_are_fit_for_use() -> None:
    assert get_resolver().url_patterns
    for code, refused in catalogue().items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
        assert refused.title.endswith(".")
        assert 400 <= refused.status <= 599
        assert refused.__doc__


def test_no_two_refusals_share_a_code() -> None:
    from duely.core.errors import Refused

    assert get_resolver().url_patterns
    codes: list[str] = []
    waiting = Refused.__subclasses__()
    while waiting:
        refused = waiting.pop()
        waiting.extend(refused.__subclasses__())
        codes.extend([refused.code] if "code" in vars(refused) else [])
    assert sorted(codes) == sorted(set(codes))


@pytest.mark.slow
def test_the_problems_page_has_every_code_of_a_field() -> None:
    used = reference.field_codes()
    assert {"required", "too_long", "unknown_field", "wrong_password"} <= used
    assert used <= reference.FIELD_CODES.keys()
    assert reference.FIELD_CODES.keys() - used <= reference.PASSWORD_CODES


def test_the_codes_of_djangos_password_checks_are_documented() -> None:
    from duely.accounts import rules
    from duely.accounts.models import User

    user = User(username="annabelle", email="annabelle@example.org")
    passwords = ["short", "84620175930", "password", "annabelle1"]
    codes = {fault.code for password in passwords if (fault := rules.password_fault(password, user))}
    assert codes == reference.PASSWORD_CODES - {"password_reused"}


def test_every_recorded_change_is_documented_and_no_other() -> None:
    recorded = reference.recorded_actions()
    assert {"task.created", "task.status_changed", "auth.logged_out", "user.deactivated"} <= recorded
    assert recorded == reference.CHANGES.keys()
    assert not [action for action in recorded if f"| `{action}` |" not in page("changes.md")]


def test_a_change_whose_name_is_not_in_the_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    file = tmp_path / "tasks" / "actions.py"
    file.write_text("def wipe(actor, task, action):\n    record(actor, action, task)\n")
    with pytest.raises(LookupError, match=r"actions\.py:2"):
        reference.recorded_actions(tmp_path)


def test_names_of_changes_are_found_wherever_they_come_from(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "actions.py").write_text(
        "def one(actor, task):\n"
        "    action = 'a.chosen' if task else 'a.otherwise'\n"
        "    record(actor, action, task)\n"
        "    two(actor, task, action='b.given')\n"
        "def two(actor, task, *, action='b.default'):\n"
        "    record_many(actor, task.owner_id, [Entry(action, task, {})])\n"
    )
    assert reference.recorded_actions(tmp_path) == {"a.chosen", "a.otherwise", "b.given", "b.default"}


def test_what_the_suite_sees_recorded_has_the_form_of_a_name() -> None:
    assert not [name for name in reference.CHANGES if not re.fullmatch(r"[a-z]+\.[a-z]+(_[a-z]+)*", name)]


def test_every_operation_of_the_api_is_in_its_document() -> None:
    """The document is the page of endpoints; tests/test_schema.py holds it against the routes."""
    assert len(contract.operations()) > 20
    assert not [operation.name for operation in contract.operations() if not operation.spec.get("summary")]


@pytest.mark.parametrize("path", ["problems.md", "changes.md", "settings.md"])
def test_a_page_that_is_made_of_the_code_is_up_to_date(path: str) -> None:
    made = reference.pages()[REFERENCE / path]
    assert page(path) == made, "run: python -m duely.cli.reference"


def test_links_between_the_pages_lead_somewhere() -> None:
    broken = []
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in target and not target.startswith("mailto:") and not (document.parent / target).exists():
                broken.append(f"{document.relative_to(ROOT)}: {target}")
    assert not broken


def test_the_testing_page_names_files_that_exist() -> None:
    named = set(re.findall(r"`((?:tests|bench)/[\w/]+\.py)`", page("testing.md")))
    assert len(named) > 30
    assert not [name for name in sorted(named) if not (ROOT / name).is_file()]


DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
STATUS = re.compile(
    r"Status: (in force|(?:partly )?superseded by \d{4}(?: and \d{4})*)\. Decided on \d{4}-\d\d-\d\d\.(?: .+)?"
)


@pytest.mark.parametrize("record", DECISIONS, ids=lambda record: record.name[:4])
def test_a_decision_has_a_status_and_a_line_in_the_list(record: Path) -> None:
    lines = record.read_text(encoding="utf-8").splitlines()
    number, _, title = lines[0].removeprefix("# ").partition(" ")
    status = STATUS.fullmatch(lines[2])
    listed = (record.parent / "README.md").read_text(encoding="utf-8")

    assert status, lines[2]
    assert number == record.name[:4]
    assert 10 <= len(lines) <= 30
    assert f"| [{number}]({record.name}) | {title} | {status[1]} |" in listed


def test_the_list_of_decisions_is_sorted_by_number() -> None:
    rows = re.findall(r"^\| \[(\d{4})\]", (DECISIONS[0].parent / "README.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert rows == [record.name[:4] for record in DECISIONS]


SPEED_AND_FAULTS = (
    *("0005", "0013", "0014", "0018", "0019", "0020", "0021", "0022", "0023", "0024"),
    *("0031", "0032", "0033", "0034", "0035"),
)
"""Records that explain code which looks needless without them."""


def decisions_named_in_the_source() -> set[str]:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    lists = [match[1] for text in sources for match in re.finditer(r"[Dd]ecisions? (\d{4}(?:(?:,| and) \d{4})*)", text)]
    return {number for numbers in lists for number in re.findall(r"\d{4}", numbers)}


@pytest.mark.parametrize("number", SPEED_AND_FAULTS)
def test_code_for_speed_or_against_faults_names_its_decision(number: str) -> None:
    assert number in decisions_named_in_the_source()


def test_the_source_names_only_decisions_that_exist() -> None:
    assert decisions_named_in_the_source() <= {record.name[:4] for record in DECISIONS}


APP = ROOT / "src" / "duely"
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", ARCHITECTURE, flags=re.DOTALL)))
"""Everything in code type on the page about the architecture."""
FUNCTION = re.compile(r"([\w/]+\.py): ([\w.]+)")
MEND = "The code has moved on: mend docs/architecture.md."


def section(title: str) -> str:
    _, _, rest = ARCHITECTURE.partition(f"\n## {title}\n")
    assert rest, title
    return rest.partition("\n## ")[0]


def first_cells(text: str) -> list[str]:
    """The first cell of each row of a table, without its head."""
    rows = re.findall(r"^\| (.+?) \|", text, re.MULTILINE)
    return [cell for cell in rows if not cell.startswith("---")][1:]


def is_path(name: str) -> bool:
    return bool(re.fullmatch(r"\.?[\w/]+(/|\.py|\.md)|\.[a-z][\w./]+", name))


@cache
def definitions(path: Path) -> frozenset[str]:
    """Functions, classes, their methods, and names that a module assigns."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return frozenset(names)


def test_every_path_of_the_architecture_exists() -> None:
    files_of_modules = {path.name for path in APP.rglob("*.py")} | {"actions/"}
    paths = {name for name in NAMED if is_path(name)} - files_of_modules

    assert len(paths) > 50
    assert not [name for name in sorted(paths) if not ((APP / name).exists() or (ROOT / name).exists())], MEND


def test_every_function_of_the_architecture_exists() -> None:
    functions = [match.groups() for name in NAMED if (match := FUNCTION.fullmatch(name))]

    assert len(functions) > 60
    assert not [(path, name) for path, name in functions if not (APP / path).is_file()], MEND
    assert not [(path, name) for path, name in functions if name not in definitions(APP / path)], MEND


def test_every_name_with_dots_of_the_architecture_exists() -> None:
    from duely.jobs.registry import known

    dotted = {name for name in NAMED if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", name) and not is_path(name)}

    assert "notifications.remind" in dotted
    assert dotted <= known().keys() | reference.CHANGES.keys() | {"connection.vendor"}


def test_the_rooms_of_the_architecture_are_the_layers_in_their_order() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    layers = contracts["importlinter:contract:modules"]["layers"].split()
    rooms = [cell.strip("`/") for cell in first_cells(section("Rooms").partition("**Subject modules**")[0])]

    assert rooms == [layer for layer in layers if layer != "|"]
    assert set(rooms) == {path.parent.name for path in APP.glob("*/__init__.py")}


def test_the_glossary_has_each_word_once_and_in_order() -> None:
    cells = first_cells(section("Glossary"))
    words = [cell.strip("*") for cell in cells]

    assert cells == [f"**{word}**" for word in words]
    assert words == sorted(set(words))
    assert {"lock", "job queue", "slot", "lease", "scope", "mailbox"} <= set(words)


def functions_called_by(call: Callable[[], object]) -> list[tuple[str, str]]:
    """(file, name) of each of our functions, in the order of their first calls."""
    called: dict[tuple[str, str], None] = {}

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(f"{APP}/"):
            name = code.co_qualname.partition(".<locals>")[0]
            called.setdefault((Path(code.co_filename).relative_to(APP).as_posix(), name))

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return list(called)


@pytest.mark.django_db
def test_a_request_takes_the_way_that_the_architecture_describes() -> None:
    from duely.http.entry import api_first, with_length, with_slot

    steps = [match.groups() for match in FUNCTION.finditer(section("One request, walked").partition("A refusal is")[0])]
    application = with_length(with_slot(api_first(lambda *_: [])))
    headers = bearer(alice())

    def send(path: str, body: dict[str, Any]) -> Any:
        content = json.dumps(body).encode()
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": f"/api/v1/{path}",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(content)),
            "HTTP_HOST": "localhost",
            "HTTP_AUTHORIZATION": headers["Authorization"],
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(content),
        }
        return json.loads(b"".join(application(environ, lambda *_: None)))

    category = send("categories/", {"name": "Home"})["id"]
    task = {"title": "Rent", "category": category, "due_date": "2098-01-31", "reminders": ["-PT30M"]}
    called = functions_called_by(lambda: send("tasks/", task))

    assert len(steps) > 20
    assert [step for step in called if step in steps] == steps, MEND
