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
    "auth.email_change_failed": "A change of address was requested with a wrong current password.",
    "auth.email_verification_failed": "A link that confirms an address was followed with a wrong password.",
    "auth.email_change_requested": "A link was sent to a new address. The address has not changed yet.",
    "auth.logged_out": "A user signed out: one session was ended with its refresh token.",
    "auth.logged_out_everywhere": (
        "The user or an admin ended all sessions of a user, with all pending codes and links. "
        "`sessions` is their number."
    ),
    "auth.login_failed": (
        "A sign-in failed: wrong password or code, or a deactivated user. `method` is `password` or `code`. "
        "For a name that does not exist, only admins see the entry."
    ),
    "auth.login_succeeded": (
        "A user signed in. `session` is the id of the new session (absent for the admin's pages). `method` is"
        " `password` or `code`."
    ),
    "auth.otp_requested": (
        "A sign-in code was requested. For an address without an account, only admins see the entry."
    ),
    "auth.password_change_failed": "A change of password was requested with a wrong current password.",
    "auth.password_changed": "A user changed their password. All other sessions, pending codes and links ended.",
    "auth.password_reset": (
        "A user set a new password by a code sent by e-mail. All sessions and all pending codes and links ended; "
        "`sessions` is the number of sessions."
    ),
    "auth.password_reset_failed": "A wrong password reset code was sent.",
    "auth.password_reset_granted": "The right password reset code was sent. It allows a new password for ten minutes.",
    "auth.password_reset_requested": "A password reset code was requested.",
    "auth.session_ended": "A session was ended from another session, or because its user has fifty others.",
    "auth.sign_up_requested": "Someone signed up; the account is made when the address is verified.",
    "auth.verification_requested": "A link that verifies the address was sent.",
    "auth.token_reuse_detected": "A used refresh token was sent again. Its session ended, as the token may be stolen.",
    "category.created": "A new category.",
    "category.deleted": (
        "A category was deleted. With up to 200 tasks in it, each task has an entry `task.updated`. With more, the"
        " tasks have no entries and lose the category shortly afterwards: see `category.emptied`."
    ),
    "category.emptied": (
        "All tasks were removed from a deleted category. `tasks` is their number. They have no entries of their own:"
        " list them with `updated_at__gte` and the time in `since`."
    ),
    "category.updated": "A category's name, colour or position changed.",
    "security.ban_changed": "An admin changed the reason or the end of a ban.",
    "security.ban_lifted": "An admin lifted a ban.",
    "security.key_changed": "The secret key was changed, or a new one was accepted with `duely migrate --adopt-key`.",
    "security.entries_left_out": (
        "Further entries of people without an account are left out until the end of the hour: a web process records"
        " at most `limit` of them in an hour. The log of the process has each of them."
    ),
    "security.ip_banned": "An address or a network was banned by an admin, or automatically (`actor` is null).",
    "security.rate_limited": (
        "A user or an address reached the rate limit `scope`. Recorded once for each window and web process. "
        "For an address, only admins see the entry."
    ),
    "task.created": "A new task. Empty fields are left out.",
    "task.deleted": "A task was moved to the trash.",
    "task.purged": "A task was deleted permanently, after 30 days in the trash or when its owner emptied the trash.",
    "task.restored": "A task was restored from the trash.",
    "task.status_changed": "The status of a task changed, possibly with other fields.",
    "task.updated": "Fields of a task changed, but not its status. `imported`: by a newer file of another program.",
    "user.created": "A new account.",
    "user.days_moved": (
        "Tasks that are due on whole days were moved to the user's new time zone. `tasks` is their number; `statuses`"
        " is the number of those that became overdue or stopped being overdue. They have no entries of their own: list"
        " them with `updated_at__gte` and the time in `since`."
    ),
    "user.deactivated": "An admin deactivated a user. All sessions and all pending codes and links ended.",
    "user.email_changed": (
        "A user's address changed, confirmed by a link that was sent to it. All sessions and all pending codes and "
        "links ended; `sessions` is the number of sessions. `has_password` is there when the password stopped working, "
        "because the link was followed without the password or a session."
    ),
    "user.email_verified": (
        "A user verified their e-mail address. All sessions and all pending codes and links ended; `sessions` is the "
        "number of sessions. `has_password` is there when an earlier password stopped working, because someone else "
        "may have chosen it."
    ),
    "user.mail_limit_reached": (
        "A mailbox reached the daily limit `limit` of the kind of mail `allowance`. Recorded once a day. For an address"
        " without an account, only admins see the entry."
    ),
    "user.profile_updated": "A user's own settings changed.",
    "user.reactivated": "An admin reactivated a user.",
    "user.reminders_dropped": (
        "Due reminders were not sent. `reminders` is their number; `reason` is `unverified` (the address is not"
        " verified) or `limited` (the mailbox has reached its daily limit)."
    ),
    "user.role_changed": ("An admin changed a user's role. All sessions and all pending codes and links ended."),
}
"""What each action of the change log means."""

FIELD_CODES: Mapping[str, str] = {
    "already_exists": "Another object has this value, which must be unique.",
    "conflict": "This contradicts another field or parameter.",
    "edit_conflict": "Someone else has changed this field since the version that was edited.",
    "invalid": "Invalid for another reason; see `message`.",
    "invalid_choice": "Not one of the allowed values.",
    "invalid_date": "Neither a date nor an instant.",
    "invalid_datetime": "Not an RFC 3339 instant with an offset.",
    "invalid_email": "Not an e-mail address.",
    "invalid_format": "The type is right, but the format is not: for example a control character.",
    "invalid_id": "Not a UUID.",
    "invalid_locale": "Not a language tag.",
    "invalid_network": "Neither an address nor a network such as `203.0.113.0/24`.",
    "invalid_reminder": "Neither an instant nor an offset such as `-PT30M`.",
    "invalid_time_zone": "Not an IANA time zone.",
    "invalid_type": "The JSON type is wrong.",
    "invalid_username": "A user name has letters, digits and `. _ + -` only.",
    "mixed_scripts": "A user name that mixes scripts, such as Latin and Greek letters, and may look like another one.",
    "not_found": "The object does not exist, or the caller may not use it.",
    "not_settable": "Only the system sets this value.",
    "out_of_range": "Too small or too large.",
    "password_entirely_numeric": "A password that consists of digits only.",
    "password_reused": "The new password is the old one.",
    "password_too_common": "A password that many people use.",
    "password_too_short": "A password of fewer than 8 characters.",
    "password_too_similar": "A password that is similar to the user name or the e-mail address.",
    "repeated": "The parameter was sent more than once, or two rows of a file have the same id.",
    "required": "The field is missing or empty.",
    "too_long": "Too many characters.",
    "too_many": "Too many items.",
    "too_short": "Too few characters.",
    "unknown_field": "The field does not exist.",
    "unknown_parameter": "The query parameter does not exist.",
    "would_lock_out": "The ban would affect the admin's own address, the server itself, or a trusted proxy.",
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
        " programs may rely on it. `detail` says what to do next. `instance` contains the request id; the server's"
        " log has more under it. The OpenAPI document lists the codes of each operation.",
        _table(("code", "status", "title", "when"), rows),
        "## Codes of fields",
        "`errors` lists every error of a body or a query string, each with the `field`, one of these codes and a"
        " message.",
        _table(("code", "when"), [(f"`{code}`", meaning) for code, meaning in sorted(FIELD_CODES.items())]),
    )


def changes_page() -> str:
    """The actions of the change log."""
    rows = [(f"`{action}`", CHANGES[action]) for action in sorted(recorded_actions())]
    return _page(
        "Changes",
        "`GET /api/v1/activity-logs/` lists every change, newest first. `action` is one of the following. `changes`"
        " contains the old and the new value of each changed field. `actor` is null for changes by the system. `seq`"
        " counts up without gaps in the log of each owner. The database refuses to alter the log. `ip`, `user_agent`"
        " and `request_id` are shown to the user who made the change and to admins; for others they are null.",
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
        " `NAME_FILE=/path` reads NAME from a file, for every setting. Duely refuses to start with an invalid value"
        " and names the setting. `duely doctor` shows the settings in force and what to fix.",
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
