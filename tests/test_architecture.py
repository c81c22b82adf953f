"""House rules that imports cannot show; import-linter checks the imports themselves (`make lint`).

A line may opt out with `# allow: <rule> because <reason>`. One that is not needed, or gives no reason, fails.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

APP = Path(__file__).parents[1] / "src" / "duely"
MANAGERS = {"objects", "_default_manager", "_base_manager", "cursor"}
EDGES = {"endpoints", "reactions", "admin", "backends", "jobs", "views", "middleware", "schemas"}
ALLOW = re.compile(r"#\s*allow:\s*(?P<rule>\w+)(?P<reason>.*)")
REASON = re.compile(r"\s+because\s+\w+.*")

Found = Iterator[tuple[int, str]]
Rule = Callable[[PurePosixPath, ast.Module], Found]


def called_name(call: ast.Call) -> str:
    """`f` of `f()`, `a.b.f()`."""
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def dotted(node: ast.AST) -> str:
    """`a.b.c` as text; "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


def silent_action(path: PurePosixPath, tree: ast.Module) -> Found:
    """Every public action records its change, itself or through another function of its module."""
    if "actions" not in (path.stem, path.parent.name) or path.parts[0] == "activity":
        return
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    recording = {"record", "record_many"}
    while more := {
        name
        for name, node in functions.items()
        if name not in recording and {called_name(call) for call in calls(node)} & recording
    }:
        recording |= more
    for name, node in functions.items():
        if not name.startswith("_") and name not in recording:
            yield node.lineno, f"{name}() changes something and records nothing"


def raw_access(path: PurePosixPath, tree: ast.Module) -> Found:
    """Edges get rows from access or queries, which take the actor."""
    if path.stem in EDGES:
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in MANAGERS:
                yield node.lineno, f".{node.attr} at an edge"


def full_save(path: PurePosixPath, tree: ast.Module) -> Found:
    """Rows are written by the statements of database.statements, which the change log runs with its own."""
    writers = {"save", "create", "get_or_create", "update_or_create", "bulk_create", "bulk_update"}
    if path.as_posix() != "database/statements.py":
        for call in calls(tree):
            if isinstance(call.func, ast.Attribute) and call.func.attr in writers:
                yield call.lineno, f".{call.func.attr}() outside database.statements"


HANDLERS = {("http/pipeline.py", "answer_api"), ("jobs/runner.py", "execute")}


def broad_except(path: PurePosixPath, tree: ast.Module) -> Found:
    """A fault that nobody expected reaches the handler of requests or of jobs, and the log. Others raise it again."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
            continue
        for handler in _own_handlers(function):
            if (path.as_posix(), getattr(function, "name", "")) in HANDLERS:
                continue
            kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
            broad = any(kind is None or dotted(kind) in {"Exception", "BaseException"} for kind in kinds)
            if broad and not any(isinstance(node, ast.Raise) and node.exc is None for node in ast.walk(handler)):
                yield handler.lineno, "catches everything"


def _own_handlers(scope: ast.AST) -> Iterator[ast.ExceptHandler]:
    for child in ast.iter_child_nodes(scope):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(child, ast.ExceptHandler):
            yield child
        yield from _own_handlers(child)


def own_clock(path: PurePosixPath, tree: ast.Module) -> Found:
    """Time and ids come from core.clock and core.ids alone: milliseconds in UTC, UUIDs of version 7."""
    clocks = {
        *(f"{name}.{call}" for name in ("datetime", "datetime.datetime") for call in ("now", "utcnow", "today")),
        *("date.today", "datetime.date.today", "time.time", "time.time_ns", "timezone.now"),
        *(f"{prefix}uuid{version}" for prefix in ("", "uuid.") for version in (1, 3, 4, 5, 6, 7)),
    }
    if path.parts[0] != "core":
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute | ast.Name) and dotted(node) in clocks:
                yield node.lineno, f"{dotted(node)} outside core"


def edge_transaction(path: PurePosixPath, tree: ast.Module) -> Found:
    """A transaction is the action's business: an endpoint that opens one begins to hold rules."""
    if path.stem in EDGES:
        for node in ast.walk(tree):
            name = getattr(node, "attr", getattr(node, "id", ""))
            if name in {"atomic", "on_commit", "set_autocommit", "select_for_update"}:
                yield node.lineno, f"{name} at an edge"


def environment(path: PurePosixPath, tree: ast.Module) -> Found:
    """Settings are read in config, and known there by name. To pass all of them on to a child process is fine."""
    if path.parts[0] == "config":
        return
    harmless = {
        id(value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if key is None
    } | {
        id(call.func.value)
        for call in calls(tree)
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == "setdefault"
        and isinstance(call.args[0], ast.Constant)
        and call.args[0].value == "DJANGO_SETTINGS_MODULE"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and dotted(node) in {"os.environ", "os.getenv"} and id(node) not in harmless:
            yield node.lineno, f"{dotted(node)} outside config"
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            for alias in node.names:
                if alias.name in {"environ", "getenv"}:
                    yield node.lineno, f"os.{alias.name} outside config"


TAKES_LOOKUPS = {"filter", "exclude", "get", "annotate", "alias", "aggregate", "values", "values_list", "Q"}
NAMING = {"order_by", "distinct", "values", "values_list", "only", "defer", "F", "OuterRef", "select_related"}
RAW = {"extra", "raw", "RawSQL"}
LISTS = {"api/lists.py", "api/cursors.py", "api/filters.py"}


def user_text_in_query(path: PurePosixPath, tree: ast.Module) -> Found:
    """Names of columns and lookups stand in the source; what a request says is only ever a value."""
    if path.as_posix() in LISTS or path.parts[0] == "config":
        return
    for call in calls(tree):
        name = called_name(call)
        is_method = isinstance(call.func, ast.Attribute)
        if name in RAW:
            yield call.lineno, f"{name}()"
        if name in TAKES_LOOKUPS and any(keyword.arg is None for keyword in call.keywords):
            yield call.lineno, f"{name}(**…): the names of columns are not in the source"
        if name in NAMING and (is_method or name in {"F", "OuterRef"}) and not all(map(_names_itself, call.args)):
            yield call.lineno, f"{name}() with a name that is not in the source"
        if name == "Q" and not all(_has_literal_lookup(argument) for argument in call.args):
            yield call.lineno, "Q() with a lookup that is not in the source"


def _names_itself(argument: ast.expr) -> bool:
    """A literal, or an expression built of literals such as `F("due_at").desc()`."""
    if isinstance(argument, ast.Call):
        return isinstance(argument.func, ast.Attribute | ast.Name) and (
            called_name(argument) in {"F", "Lower"} or isinstance(argument.func, ast.Attribute)
        )
    return isinstance(argument, ast.Constant)


def _has_literal_lookup(argument: ast.expr) -> bool:
    if isinstance(argument, ast.Tuple):
        return isinstance(argument.elts[0], ast.Constant)
    return isinstance(argument, ast.Call) or not isinstance(argument, ast.Starred)


HTTP_CLIENTS = {"urllib.request", "http.client", "urllib3", "requests", "httpx", "aiohttp"}


def outbound_http(path: PurePosixPath, tree: ast.Module) -> Found:
    """Nothing calls other servers by HTTP. What will must be one guarded client: an address from outside may be ours."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name in HTTP_CLIENTS or name.partition(".")[0] in HTTP_CLIENTS:
                yield node.lineno, f"imports {name}"


PASSWORD_CHECKS = {"check_password", "acheck_password", "verify_password"}


def password_check(path: PurePosixPath, tree: ast.Module) -> Found:
    """A password is compared with a hash in one module, which counts the wrong ones."""
    if path.as_posix() == "accounts/password_checks.py":
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and {alias.name for alias in node.names} & PASSWORD_CHECKS:
            yield node.lineno, "imports a check of passwords: use duely.accounts.password_checks"
    for call in calls(tree):
        is_hasher = isinstance(call.func, ast.Attribute) and call.func.attr == "verify"
        if called_name(call) in PASSWORD_CHECKS or (is_hasher and path.as_posix() != "accounts/hashers.py"):
            yield call.lineno, f"{called_name(call)}(): use duely.accounts.password_checks"


TAKES_CONDITIONS = {"filter", "exclude", "get", "Q", "When", "get_or_none", "get_object_or_404"}
OWNERSHIP = re.compile(r"(owner|project)(_id)?(__\w+)?")
OWNERSHIP_IN_SQL = re.compile(r"\b(owner|project)_id\s*(=|<>|!=|\bIN\b)\s*(%s|ANY|\()", re.IGNORECASE)


def own_visibility(path: PurePosixPath, tree: ast.Module) -> Found:
    """Who sees what is decided in core.scopes alone: others take `scope(actor, permission)` and pass it on."""
    if path.as_posix() == "core/scopes.py":
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if called_name(node) in TAKES_CONDITIONS:
                for keyword in node.keywords:
                    if keyword.arg and OWNERSHIP.fullmatch(keyword.arg):
                        yield keyword.lineno, f"{called_name(node)}({keyword.arg}=…): use scope()"
            for keyword in node.keywords:
                if keyword.arg == "sees_all":
                    yield keyword.lineno, "sees_all: use scope()"
        elif isinstance(node, ast.Tuple) and len(node.elts) == 2:
            name = node.elts[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str) and OWNERSHIP.fullmatch(name.value):
                yield node.lineno, f"({name.value!r}, …) as a condition: use scope()"
        elif isinstance(node, ast.Attribute) and node.attr in {"sees_all", "SEE_ALL"}:
            yield node.lineno, f".{node.attr}: use scope()"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and OWNERSHIP_IN_SQL.search(node.value):
            yield node.end_lineno or node.lineno, "a condition on the owner in SQL: use scope().sql()"


RULES: tuple[Rule, ...] = (
    own_visibility,
    outbound_http,
    password_check,
    silent_action,
    raw_access,
    full_save,
    broad_except,
    own_clock,
    edge_transaction,
    environment,
    user_text_in_query,
)


def violations(path: PurePosixPath, source: str) -> list[str]:
    """What one file does against the rules, its needless opt-outs included."""
    tree = ast.parse(source)
    lines = source.splitlines()
    allowed: dict[int, tuple[str, bool]] = {}
    for number, line in enumerate(lines, start=1):
        if match := ALLOW.search(line):
            allowed[number] = (match["rule"], bool(REASON.fullmatch(match["reason"])))
    found = []
    used = set()
    for rule in RULES:
        for number, message in rule(path, tree):
            if allowed.get(number, ("", False))[0] == rule.__name__:
                used.add(number)
            else:
                found.append(f"{path}:{number} {message} [{rule.__name__}]")
    for number, (name, has_reason) in allowed.items():
        if number not in used:
            found.append(f"{path}:{number} allows {name} needlessly")
        if not has_reason:
            found.append(f"{path}:{number} allows {name} without a reason")
    return found


def files() -> list[PurePosixPath]:
    paths = (PurePosixPath(path.relative_to(APP).as_posix()) for path in sorted(APP.rglob("*.py")))
    return [path for path in paths if "migrations" not in path.parts]


@pytest.mark.slow
def test_the_house_rules_hold() -> None:
    checked = files()
    assert len(checked) > 40
    found = [line for path in checked for line in violations(path, (APP / path).read_text())]
    assert not found, "\n".join(found)


BITES = [
    (own_visibility, "tasks/queries.py", "rows = Task.objects.filter(owner_id=actor.user_id)\n"),
    (own_visibility, "tasks/queries.py", "rows = tasks.exclude(owner=actor.user_id)\n"),
    (own_visibility, "tasks/queries.py", "rows = tasks.filter(LIVE, Q(owner_id__in=ids) | Q(title=''))\n"),
    (own_visibility, "tasks/queries.py", "rows = tasks.filter(project_id=project.id)\n"),
    (own_visibility, "tasks/queries.py", "rows = Visible(all_tasks, scope, (('owner_id', actor.user_id),))\n"),
    (own_visibility, "activity/queries.py", "everything = actor.sees_all\n"),
    (own_visibility, "guard/admin.py", "actor = Actor(user.id, sees_all=user.is_staff)\n"),
    (own_visibility, "accounts/queries.py", "everything = allows(actor.role, Permission.SEE_ALL)\n"),
    (own_visibility, "tasks/stats/queries.py", "SQL = 'SELECT count(*) FROM tasks_task WHERE owner_id = %s'\n"),
    (silent_action, "tasks/actions.py", "def wipe(task):\n    task.title = ''\n"),
    (silent_action, "tasks/actions.py", "def wipe(task):\n    _helper(task)\ndef _helper(task):\n    pass\n"),
    (silent_action, "tasks/actions.py", "def wipe(a):\n    tidy(a)\ndef tidy(a):\n    wipe(a)\n"),
    (silent_action, "accounts/actions/users.py", "def wipe(user):\n    user.name = ''\n"),
    (raw_access, "tasks/endpoints.py", "def get():\n    return Task.objects.all()\n"),
    (raw_access, "accounts/admin.py", "rows = models.User._default_manager.all()\n"),
    (raw_access, "web/views.py", "with connection.cursor() as cursor:\n    pass\n"),
    (full_save, "tasks/actions.py", "task.save()\n"),
    (full_save, "tasks/actions.py", "task.save(update_fields=['title'])\n"),
    (full_save, "accounts/actions.py", "User.objects.create(name='a')\n"),
    (broad_except, "tasks/actions.py", "try:\n    x()\nexcept Exception:\n    pass\n"),
    (broad_except, "tasks/actions.py", "try:\n    x()\nexcept:\n    pass\n"),
    (
        broad_except,
        "http/pipeline.py",
        "def f():\n    try:\n        x()\n    except (KeyError, Exception):\n        y()\n",
    ),
    (broad_except, "a/b.py", "def answer_api():\n    try:\n        x()\n    except BaseException:\n        y()\n"),
    (own_clock, "tasks/actions.py", "at = datetime.now(UTC)\n"),
    (own_clock, "tasks/actions.py", "at = timezone.now()\n"),
    (own_clock, "tasks/models.py", "id = UUIDField(default=uuid.uuid4)\n"),
    (own_clock, "tasks/actions.py", "at = time.time()\n"),
    (edge_transaction, "tasks/endpoints.py", "with transaction.atomic():\n    x()\n"),
    (edge_transaction, "tasks/endpoints.py", "@atomic\ndef post():\n    x()\n"),
    (edge_transaction, "tasks/endpoints.py", "rows = visible_tasks(actor).select_for_update()\n"),
    (environment, "tasks/actions.py", "key = os.environ['KEY']\n"),
    (environment, "cli/serve.py", "key = os.getenv('KEY')\n"),
    (environment, "cli/serve.py", "from os import environ\n"),
    (environment, "cli/serve.py", "os.environ.setdefault('KEY', '1')\n"),
    (password_check, "accounts/actions/users.py", "from django.contrib.auth.hashers import check_password\n"),
    (password_check, "accounts/actions/users.py", "is_right = user.check_password(text)\n"),
    (password_check, "accounts/backends.py", "is_right = Argon2id().verify(text, user.password)\n"),
    (outbound_http, "tasks/actions.py", "import urllib.request\n"),
    (outbound_http, "cli/doctor.py", "from http import client\n"),
    (outbound_http, "notifications/jobs.py", "from requests.sessions import Session\n"),
    (user_text_in_query, "tasks/queries.py", "rows = tasks.order_by(params['ordering'])\n"),
    (user_text_in_query, "tasks/queries.py", "rows = tasks.order_by(*names)\n"),
    (user_text_in_query, "tasks/queries.py", "rows = tasks.filter(**params)\n"),
    (user_text_in_query, "tasks/queries.py", "rows = tasks.annotate(**{name: Count('pk')})\n"),
    (user_text_in_query, "tasks/schemas.py", "condition = Q(**{name: 1})\n"),
    (user_text_in_query, "tasks/schemas.py", "condition = Q((name, 1))\n"),
    (user_text_in_query, "tasks/schemas.py", "condition = Q((f'{name}__lt', 1))\n"),
    (user_text_in_query, "tasks/queries.py", "rows = tasks.annotate(x=F(name))\n"),
    (user_text_in_query, "tasks/queries.py", "rows = tasks.values_list(name)\n"),
    (user_text_in_query, "tasks/queries.py", "rows = tasks.extra(where=[text])\n"),
    (user_text_in_query, "tasks/queries.py", "rows = tasks.annotate(x=RawSQL(text, []))\n"),
    (user_text_in_query, "tasks/queries.py", "rows = Task.objects.raw(text)\n"),
]


@pytest.mark.parametrize("rule, path, source", BITES, ids=lambda value: getattr(value, "__name__", None))
def test_each_rule_bites(rule: Rule, path: str, source: str) -> None:
    assert any(found.endswith(f"[{rule.__name__}]") for found in violations(PurePosixPath(path), source))


KEEPS = [
    ("tasks/actions.py", "def rename(task):\n    _helper(task)\ndef _helper(task):\n    record(task)\n"),
    ("tasks/actions.py", "def _helper(task):\n    pass\n"),
    ("tasks/queries.py", "def tasks():\n    return Task.objects.filter(title='a').order_by('id')\n"),
    ("core/scopes.py", "condition = ('owner_id', actor.user_id)\n"),
    ("tasks/edits.py", "task = Task(owner_id=actor.user_id, title='a')\n"),
    (
        "tasks/queries.py",
        "rows = within(Task.objects.all(), scope(actor, Permission.TASK_VIEW)).only('owner_id', 'title')\n",
    ),
    ("tasks/lists.py", "FILTERS = (Filter('owner', 'owner_id', identifier, UUID_TEXT),)\n"),
    ("activity/actions.py", "SQL = 'INSERT INTO activity_counter (owner_id, seq) VALUES (%s, 1)'\n"),
    (
        "tasks/queries.py",
        "rows = Task.objects.filter(owner_id=1)  # allow: own_visibility because jobs act for the system\n",
    ),
    ("http/pipeline.py", "def answer_api():\n    try:\n        x()\n    except Exception:\n        pass\n"),
    ("cli/exits.py", "try:\n    x()\nexcept Exception:\n    if unexpected():\n        raise\n"),
    ("core/clock.py", "at = datetime.now(UTC)\n"),
    ("config/env.py", "from urllib.parse import urlsplit\n"),
    ("config/env.py", "value = os.environ['KEY']\n"),
    ("cli/supervisor.py", "start(env={**os.environ, 'A': '1'})\n"),
    ("cli/main.py", "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'duely.config.settings')\n"),
    ("tasks/queries.py", "rows = tasks.order_by(F('due_at').desc(nulls_last=True), '-id')\n"),
    ("tasks/queries.py", "rows = tasks.filter(Q(status=1) | Q(('title', text)))\n"),
]


@pytest.mark.parametrize("path, source", KEEPS)
def test_what_is_right_passes(path: str, source: str) -> None:
    assert not violations(PurePosixPath(path), source)


def test_an_opt_out_needs_a_reason_and_a_need() -> None:
    here = PurePosixPath("tasks/actions.py")
    assert not violations(here, "task.save()  # allow: full_save because the row is new and nobody else has it\n")
    assert violations(here, "task.save()  # allow: full_save\n")
    assert violations(here, "task.save()  # allow: own_clock because it is another rule\n")
    assert violations(here, "task.title = ''  # allow: full_save because of nothing\n")


def test_every_rule_is_shown_to_bite() -> None:
    assert {rule for rule, _, _ in BITES} == set(RULES)
