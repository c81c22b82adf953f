"""Reference pages that are made of the code: `python -m duely.cli.reference`, in a clone of the repository.

A test fails while a page is not what this makes.
"""

import ast
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[1]
REPOSITORY = SOURCE.parents[1]
REMARK = "<!-- Made by `python -m duely.cli.reference`. Change the code, then run it again. -->"

CHANGES: Mapping[str, str] = {
    "auth.email_change_failed": "A change of address was asked for with a wrong current password.",
    "auth.email_verification_failed": "A link that confirms an address was followed with a wrong password.",
    "auth.email_change_requested": "A link was sent to a new address; the address has not changed yet.",
    "auth.logged_out": "Signed out: one session ended by its refresh token.",
    "auth.logged_out_everywhere": (
        "All sessions of a user ended by the user or an admin, with every code and link that waited. "
        "`sessions` holds how many they were."
    ),
    "auth.login_failed": (
        "A sign-in with a wrong password or code, or of a deactivated user. `method` says which. "
        "Under a name that does not exist it stands in nobody's log: admins alone see it."
    ),
    "auth.login_succeeded": (
        "Signed in. `session` holds the id of the new session, the admin's pages have none; `method` is `password` or"
        " `code`."
    ),
    "auth.otp_requested": (
        "A code to sign in with was asked for. For an address without an account it stands in nobody's log."
    ),
    "auth.password_change_failed": "A change of password was asked for with a wrong current password.",
    "auth.password_changed": "A new password. All other sessions ended with it, and every code and link that waited.",
    "auth.password_reset": (
        "A new password by a code sent by e-mail. Every code and link that waited ended with it; "
        "`sessions` holds how many sessions did."
    ),
    "auth.password_reset_failed": "A wrong code was sent to set a new password with.",
    "auth.password_reset_granted": "The right code was sent: a new password may be set within ten minutes.",
    "auth.password_reset_requested": "A code to set a new password with was asked for.",
    "auth.session_ended": "One session ended from another one, or because its user has fifty others.",
    "auth.sign_up_requested": "Someone signed up; the account is made when the address is verified.",
    "auth.verification_requested": "A link that verifies the address was sent.",
    "auth.token_reuse_detected": "A used refresh token came again: its session ended, as someone may have stolen it.",
    "category.created": "A new category.",
    "category.deleted": (
        "A category is gone. Each of up to 200 tasks that were in it has an entry `task.updated` of its own; more of"
        " them have none, and lose their category within moments: see `category.emptied`."
    ),
    "category.emptied": (
        "No task is in a deleted category any more. `tasks` says how many were. They have no entries of their own: read"
        " them with `updated_at__gte` and the time in `since`."
    ),
    "category.updated": "A category's name, colour or position changed.",
    "security.ban_changed": "An admin changed the reason or the end of a ban.",
    "security.ban_lifted": "An admin lifted a ban.",
    "security.key_changed": "The secret key was changed, or taken over with `duely migrate --adopt-key`.",
    "security.entries_left_out": (
        "Entries of people without an account were left out from here to the end of the hour: a web process records"
        " `limit` of them in an hour. Its own log names each."
    ),
    "security.ip_banned": "An address or a network was banned, by an admin or, with `actor` null, automatically.",
    "security.rate_limited": (
        "A user or an address reached a limit: once for each window and web process, however often they came. "
        "`scope` says which; that of an address stands in nobody's log: admins alone see it."
    ),
    "task.created": "A new task. Fields that are empty are left out.",
    "task.deleted": "A task went to the trash.",
    "task.purged": "A task is gone for good after 30 days in the trash.",
    "task.restored": "A task came back from the trash.",
    "task.status_changed": "A task's status changed, and with it perhaps other fields.",
    "task.updated": "Fields of a task changed, its status not. `imported`: by a newer file of another program.",
    "user.created": "A new account.",
    "user.days_moved": (
        "Tasks that are due on whole days moved to the user's new time zone: `tasks` says how many, `statuses` how many"
        " of them became overdue by this, or are not overdue any more. These have no entries of their own: read them"
        " with `updated_at__gte` and the time in `since`."
    ),
    "user.deactivated": "An admin keeps a user out. All sessions ended with it, and every code and link that waited.",
    "user.email_changed": (
        "A new address, confirmed by a link that was sent to it. Every code and link that waited ended with it; "
        "`sessions` holds how many sessions did. `has_password` is there when the password works no more, since "
        "whoever followed the link had neither it nor a session."
    ),
    "user.email_verified": (
        "A user showed that they read the mail of their address. Every code and link that waited ended with it; "
        "`sessions` holds how many sessions did. `has_password` is there when an earlier password works no more, since "
        "someone else may have chosen it."
    ),
    "user.mail_limit_reached": (
        "A mailbox reached a daily limit of mails; once for each day and `allowance`. `limit` says how many it may be"
        " sent. That of an address without an account stands in nobody's log: admins alone see it."
    ),
    "user.profile_updated": "A user's own settings changed.",
    "user.reactivated": "An admin lets a user in again.",
    "user.reminders_dropped": (
        "Reminders came due that were not sent. `reminders` says how many; `reason` is `unverified`, for an address"
        " that is not verified, or `limited`, for a mailbox that has reached its daily limit."
    ),
    "user.role_changed": (
        "An admin changed a user's role. All sessions ended with it, and every code and link that waited."
    ),
}
"""What each action of the change log means."""

FIELD_CODES: Mapping[str, str] = {
    "already_exists": "Something else has this value, and it must be unique.",
    "conflict": "This contradicts another field or parameter.",
    "edit_conflict": "Someone else has changed this field since the version that the edit was made from.",
    "invalid": "Wrong in a way that has no code of its own; `message` says how.",
    "invalid_choice": "Not one of the known words.",
    "invalid_date": "Neither a date nor an instant.",
    "invalid_datetime": "Not an RFC 3339 instant with an offset.",
    "invalid_email": "Not an e-mail address.",
    "invalid_format": "The right type, the wrong form: a control character, a pattern that does not fit.",
    "invalid_id": "Not a UUID.",
    "invalid_locale": "Not a language tag.",
    "invalid_network": "Neither an address nor a network such as `203.0.113.0/24`.",
    "invalid_reminder": "Neither an instant nor an offset such as `-PT30M`.",
    "invalid_time_zone": "Not an IANA time zone.",
    "invalid_type": "Another JSON type is needed.",
    "invalid_username": "A user name has letters, digits and `. _ + -` only.",
    "not_found": "There is no such thing, or none that the caller may use.",
    "not_settable": "Only the system sets this value.",
    "out_of_range": "Too small or too large.",
    "password_entirely_numeric": "A password of digits alone.",
    "password_reused": "The new password is the old one.",
    "password_too_common": "A password that many people use.",
    "password_too_short": "A password of fewer than 8 characters.",
    "password_too_similar": "A password that is much like the user name or the e-mail address.",
    "repeated": "The parameter is there more than once.",
    "required": "Missing, or empty where something must stand.",
    "too_long": "Too many characters.",
    "too_many": "Too many items.",
    "too_short": "Too few characters.",
    "unknown_field": "There is no such field.",
    "unknown_parameter": "There is no such query parameter.",
    "would_lock_out": "A ban of this would keep out the one who asks, this machine itself, or a trusted proxy.",
    "wrong_password": "Not the current password.",
}
"""What each code in the `errors` of a problem document means."""

PASSWORD_CODES = frozenset(code for code in FIELD_CODES if code.startswith("password_"))
"""Those that Django's password checks give, or a refusal of its own."""


def pages() -> dict[Path, str]:
    """Every page that is made here: its file → its text."""
    folder = REPOSITORY / "docs" / "reference"
    return {
        folder / "problems.md": problems_page(),
        folder / "changes.md": changes_page(),
        folder / "settings.md": settings_page((REPOSITORY / ".env.example").read_text(encoding="utf-8")),
    }


def problems_page() -> str:
    """The codes of problem documents, and of the fields in them."""
    from django.urls import get_resolver

    from duely.core.errors import catalogue

    _ = get_resolver().url_patterns  # imports every module that refuses something
    rows = [
        (f"`{code}`", str(refused.status), refused.title, " ".join((refused.__doc__ or "").split()))
        for code, refused in catalogue().items()
    ]
    return _page(
        "Problems",
        "Every error under `/api/` is a problem document (RFC 9457, `application/problem+json`). Its `code` is stable:"
        " programs may rely on it. `detail` says what to do next, `instance` holds the request id under which the log"
        " has more. The OpenAPI document says which operation answers with which of them.",
        _table(("code", "status", "title", "when"), rows),
        "## Codes of fields",
        "`errors` lists every fault of a body or a query string, each with the `field`, one of these codes and a"
        " sentence.",
        _table(("code", "when"), [(f"`{code}`", meaning) for code, meaning in sorted(FIELD_CODES.items())]),
    )


def changes_page() -> str:
    """The actions of the change log."""
    rows = [(f"`{action}`", CHANGES[action]) for action in sorted(recorded_actions())]
    return _page(
        "Changes",
        "`GET /api/v1/activity-logs/` shows every change, newest first. Each has one of these actions, and in `changes`"
        " the fields that changed, each with its old and its new value. `actor` is null when the system did it. `seq`"
        " counts up without gaps in the log of each owner. Nothing can alter the log: the database refuses it.",
        _table(("action", "what happened"), rows),
    )


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as `.env.example` shows it."""

    name: str
    default: str
    about: str


_ASSIGNMENT = re.compile(r"# ?(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)")


def settings_of(example: str) -> list[Setting]:
    """The settings in the text of `.env.example`: comment lines, then the names that they are about."""
    found = []
    about: list[str] = []
    is_new = True
    for line in example.splitlines():
        if match := _ASSIGNMENT.fullmatch(line):
            found.append(Setting(match["name"], match["value"], " ".join(about)))
            is_new = True
        elif not line:
            about = []
        else:
            about = [*([] if is_new else about), line.removeprefix("#").strip()]
            is_new = False
    return found


def settings_page(example: str) -> str:
    """The settings, from `.env.example`."""
    rows = [
        (f"`{setting.name}`", f"`{setting.default}`" if setting.default else "", setting.about)
        for setting in settings_of(example)
    ]
    return _page(
        "Settings",
        "Settings come from the environment, or from a file `.env` in the working directory; the environment wins."
        " `NAME_FILE=/path` reads NAME from a file, for every setting. A value that cannot be used stops the start with"
        " a sentence that names the setting. `duely doctor` shows what is in force and what to mend.",
        _table(("name", "default", "what it does"), rows),
    )


def recorded_actions(source: Path = SOURCE) -> set[str]:
    """The name of every change that the code records. Raises LookupError for one that is not in the source."""
    names: set[str] = set()
    for path in sorted([*source.glob("*/actions.py"), *source.glob("*/actions/*.py")]):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names |= set(_own_actions(tree) if path.parent.name == "activity" else _actions_in(tree, path))
    return names


def _own_actions(tree: ast.Module) -> Iterator[str]:
    """Those that the log itself adds: of all others it is only told the names."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and _name(call) == "Entry" and isinstance(call.args[0], ast.Constant):
            yield str(call.args[0].value)


def _actions_in(tree: ast.Module, path: Path) -> Iterator[str]:
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for call in _calls(function):
                position = {"record": 1, "Entry": 0}.get(_name(call))
                if position is None or _is_of_an_entry(call.args[position]):
                    continue
                values = list(_texts(call.args[position], function, tree))
                if not values:
                    raise LookupError(f"{path}:{call.lineno} records a change whose name is not in the source")
                yield from values


def _is_of_an_entry(node: ast.expr) -> bool:
    """`entry.action`: found where the entry is made."""
    return isinstance(node, ast.Attribute) and node.attr == "action"


def _texts(node: ast.expr, function: ast.FunctionDef, tree: ast.Module) -> Iterator[str]:
    """The strings that an expression can be: itself, both sides of a choice, what a name was given."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body, function, tree)
        yield from _texts(node.orelse, function, tree)
    elif isinstance(node, ast.Name):
        for inner in ast.walk(function):
            if isinstance(inner, ast.Assign) and any(getattr(name, "id", "") == node.id for name in inner.targets):
                yield from _texts(inner.value, function, tree)
        yield from _texts_of_parameter(node.id, function, tree)


def _texts_of_parameter(name: str, function: ast.FunctionDef, tree: ast.Module) -> Iterator[str]:
    arguments = function.args
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if argument.arg == name and default is not None:
            yield from _texts(default, function, tree)
    for call in _calls(tree):
        if _name(call) == function.name:
            for keyword in call.keywords:
                if keyword.arg == name:
                    yield from _texts(keyword.value, function, tree)


def field_codes(source: Path = SOURCE) -> set[str]:
    """Every code that the code gives to a fault of a field."""
    positions = {"FieldError": 1, "Invalid": 0, "Fault": 0}
    codes: set[str] = set()
    for path in sorted(source.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        given = [call.args[positions[_name(call)]] for call in _calls(tree) if _fits(call, positions)]
        tables = [
            row.elts[1]
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and any(getattr(name, "id", "") == "_CODES" for name in node.targets)
            for row in ast.walk(node.value)
            if isinstance(row, ast.Tuple) and len(row.elts) == 2
        ]
        for argument in [*given, *tables]:
            codes |= {
                node.value
                for node in ast.walk(argument)
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }
    return codes


def _fits(call: ast.Call, positions: Mapping[str, int]) -> bool:
    return len(call.args) > positions.get(_name(call), len(call.args))


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", REMARK, *parts]) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def main() -> None:
    """Write every page."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "duely.config.settings")
    django.setup()
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
