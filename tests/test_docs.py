"""What the product knows and what its pages say are the same."""

import ast
import re
from pathlib import Path

import pytest
from django.urls import get_resolver

import contract
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
