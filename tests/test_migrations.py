"""Migrations: none is missing, each goes forward and back on both databases, none leans on today's code."""

import ast
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import RunPython, RunSQL
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.utils import ConnectionHandler

OURS = {"api", "mail", "tasks", "accounts", "activity", "guard", "jobs", "notifications"}
APP = Path(__file__).parents[1] / "src" / "duely"
# Ids are made the same way for ever, and words must be those that the code of that day searches for. Everything else in
# the package may change.
TIMELESS = {"duely.core.ids", "duely.tasks.words"}
UNINTERESTING = ("django_migrations", "sqlite_sequence")


@pytest.fixture
def fresh(fresh_database_url: str, django_db_blocker: Any) -> Iterator[BaseDatabaseWrapper]:
    """A connection to an empty database."""
    from duely.config.database import from_url

    options = from_url(fresh_database_url, threads=1)
    options["OPTIONS"].pop("pool", None)
    # Known to Django by a name: its schema editor opens transactions by the connection's alias.
    connections.settings["fresh"] = ConnectionHandler({"default": options}).settings["default"]
    with django_db_blocker.unblock():
        try:
            yield connections["fresh"]
        finally:
            connections["fresh"].close()
            del connections["fresh"], connections.settings["fresh"]


def migrate(connection: BaseDatabaseWrapper, targets: list[tuple[str, str | None]]) -> None:
    executor = MigrationExecutor(connection)
    executor.migrate(targets)


def all_leaves(connection: BaseDatabaseWrapper) -> list[tuple[str, str | None]]:
    return [(app, name) for app, name in MigrationExecutor(connection).loader.graph.leaf_nodes()]


def shape(connection: BaseDatabaseWrapper) -> dict[str, Any]:
    """Tables with their columns, constraints, indexes and triggers."""
    if connection.vendor == "sqlite":
        # Django's own introspection stumbles over CHECK (… IN ('a', 'b')); the text says it all.
        with connection.cursor() as cursor:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE tbl_name NOT IN (%s, %s)", UNINTERESTING)
            return dict(cursor.fetchall())
    found: dict[str, Any] = {"triggers": triggers(connection)}
    with connection.cursor() as cursor:
        for table in set(connection.introspection.table_names(cursor)) - set(UNINTERESTING):
            columns = connection.introspection.get_table_description(cursor, table)
            constraints = connection.introspection.get_constraints(cursor, table)
            found[table] = (
                [(column.name, str(column.type_code), column.null_ok, column.collation) for column in columns],
                {name: sorted(map(str, fact.items())) for name, fact in constraints.items()},
            )
    return found


def triggers(connection: BaseDatabaseWrapper) -> list[str]:
    sql = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger' ORDER BY name",
        "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgname",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [name for (name,) in cursor.fetchall()]


def our_tables(connection: BaseDatabaseWrapper) -> set[str]:
    mine = {model._meta.db_table for app in OURS for model in apps.get_app_config(app).get_models()}
    assert len(mine) >= 7
    return mine & set(connection.introspection.table_names())


@pytest.mark.django_db
def test_no_change_of_a_model_waits_for_its_migration(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        call_command("makemigrations", check=True, dry_run=True, verbosity=1)
    except SystemExit:
        pytest.fail(capsys.readouterr().out)


@pytest.mark.slow
def test_each_migration_goes_forward_back_and_forward_again(fresh: BaseDatabaseWrapper) -> None:
    executor = MigrationExecutor(fresh)
    plan = [migration for migration, _ in executor.migration_plan(all_leaves(fresh))]
    assert {migration.app_label for migration in plan} >= OURS
    for migration in plan:
        node = (migration.app_label, migration.name)
        if migration.app_label not in OURS:
            migrate(fresh, [node])
            continue
        before = shape(fresh)
        migrate(fresh, [node])
        after = shape(fresh)
        previous = [parent for parent in migration.dependencies if parent[0] == migration.app_label]
        migrate(fresh, [previous[0] if previous else (migration.app_label, None)])
        assert shape(fresh) == before, f"{node} leaves something behind when it goes back"
        migrate(fresh, [node])
        assert shape(fresh) == after, f"{node} does something else the second time"


@pytest.mark.slow
def test_all_migrations_go_back_to_nothing_and_forward_to_the_same(fresh: BaseDatabaseWrapper) -> None:
    leaves = all_leaves(fresh)
    migrate(fresh, leaves)
    first = shape(fresh)
    assert our_tables(fresh)
    migrate(fresh, [(app, None) for app in sorted({app for app, _ in leaves})])
    assert not our_tables(fresh)
    assert not triggers(fresh)
    migrate(fresh, leaves)
    assert shape(fresh) == first


@pytest.mark.slow
def test_a_second_run_finds_nothing_to_do(fresh: BaseDatabaseWrapper) -> None:
    leaves = all_leaves(fresh)
    migrate(fresh, leaves)
    assert not MigrationExecutor(fresh).migration_plan(leaves)


STATEMENTS = [
    "UPDATE activity_change SET action = 'task.forged'",
    "UPDATE activity_change SET seq = seq",
    "DELETE FROM activity_change",
    "DELETE FROM activity_change WHERE 1 = 1",
]


@pytest.mark.slow
def test_the_migrated_database_keeps_the_log_as_it_is(fresh: BaseDatabaseWrapper) -> None:
    migrate(fresh, all_leaves(fresh))
    change = MigrationExecutor(fresh).loader.project_state().apps.get_model("activity", "Change")
    row = {"id": uuid4(), "owner_id": UUID(int=0), "seq": 1, "at": datetime(2026, 1, 1, tzinfo=UTC), "changes": {}}
    with fresh.cursor() as cursor:
        fields = change._meta.local_concrete_fields
        values = [field.get_db_prep_save(row.get(field.name, field.get_default()), fresh) for field in fields]
        marks = ", ".join(["%s"] * len(fields))
        cursor.execute(f"INSERT INTO activity_change ({', '.join(f.column for f in fields)}) VALUES ({marks})", values)
    assert triggers(fresh)
    extra = ["TRUNCATE activity_change", "TRUNCATE activity_change CASCADE"] if fresh.vendor == "postgresql" else []
    for statement in [*STATEMENTS, *extra]:
        with pytest.raises(DatabaseError, match="append-only"), fresh.cursor() as cursor:
            cursor.execute(statement)
    with fresh.cursor() as cursor:
        cursor.execute("SELECT action, seq FROM activity_change")
        assert cursor.fetchall() == [("", 1)]


@pytest.mark.django_db
@pytest.mark.parametrize("statement", STATEMENTS)
def test_the_database_of_the_tests_keeps_the_log_as_it_is(statement: str) -> None:
    """The same as operators have: the triggers are there for every other test too."""
    from django.db import connection

    from cast import person
    from duely.activity.actions import record
    from duely.core.clock import now

    with transaction.atomic():
        record(None, "user.created", person("ann"), at=now())
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def our_files() -> list[Path]:
    files = [path for path in sorted(APP.glob("*/migrations/*.py")) if path.name != "__init__.py"]
    assert {path.parts[-3] for path in files} == OURS
    return files


def imported(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "." * node.level)
    return names


def test_migrations_import_nothing_that_may_change() -> None:
    """A migration runs in a year against the code of that day."""
    found = [
        f"{path.relative_to(APP)} imports {name}"
        for path in our_files()
        for name in imported(path.read_text(encoding="utf-8"))
        if name.split(".")[0] in {"duely", ""} and name not in TIMELESS
    ]
    assert not found


def test_the_check_of_imports_bites() -> None:
    assert imported("import duely.tasks.models\nfrom duely.tasks import actions\nfrom . import x\n") == {
        "duely.tasks.models",
        "duely.tasks",
        ".",
    }


@pytest.mark.django_db
def test_every_step_that_is_not_made_by_django_can_go_back() -> None:
    from django.db import connection

    loader = MigrationLoader(connection)
    mine = [migration for (app, _), migration in loader.disk_migrations.items() if app in OURS]
    steps = [
        (f"{migration.app_label}.{migration.name}", step)
        for migration in mine
        for step in migration.operations
        if isinstance(step, RunPython | RunSQL)
    ]
    assert steps
    assert not [name for name, step in steps if not step.reversible]


def test_migrations_are_named_for_what_they_do() -> None:
    assert not [path.name for path in our_files() if "_auto_" in path.name or "_alter_" in path.name]
