"""`python -m baseline.fill`: the baseline's tables, filled from Duely's in the same database, which then go.

DATABASE_URL names the database: a copy of Duely's.
"""

import os

# Ids of people are numbers here, in the order of their UUIDs: the harness counts on that.
STATEMENTS = (
    """INSERT INTO auth_user (id, password, is_superuser, username, first_name, last_name, email, is_staff, is_active,
        date_joined)
    SELECT row_number() OVER (ORDER BY id), password, false, username, '', '', email, false, true, created_at
    FROM accounts_user""",
    """INSERT INTO baseline_category (id, owner_id, name)
    SELECT c.id, a.id, c.name FROM tasks_category c JOIN accounts_user u ON u.id = c.owner_id
    JOIN auth_user a ON a.username = u.username""",
    """INSERT INTO baseline_task (id, owner_id, category_id, title, description, status, priority, due_date, tags,
        created_at, updated_at, deleted_at)
    SELECT t.id, a.id, t.category_id, t.title, t.description, t.status,
        CASE t.priority WHEN 1 THEN 'low' WHEN 2 THEN 'medium' WHEN 3 THEN 'high' ELSE 'urgent' END,
        t.due_at, t.tags, t.created_at, t.updated_at, t.deleted_at
    FROM tasks_task t JOIN accounts_user u ON u.id = t.owner_id JOIN auth_user a ON a.username = u.username
    ORDER BY t.id""",
    """INSERT INTO baseline_activity (user_id, task_id, action, changes, created_at)
    SELECT a.id, c.target_id, c.action, CAST(c.changes AS {json}), c.at
    FROM activity_change c JOIN accounts_user u ON u.id = c.owner_id JOIN auth_user a ON a.username = u.username
    ORDER BY c.id""",
)
DUELY = "accounts_ activity_ api_ guard_ jobs_ notifications_ tasks_"


def main() -> None:
    """Make, fill, take away what was Duely's."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "baseline.settings"
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    is_postgres = connection.vendor == "postgresql"
    drop_tables("django_", "auth_")
    call_command("migrate", verbosity=0)
    call_command("migrate", run_syncdb=True, verbosity=0)  # ours, which hang on the others'
    with connection.cursor() as cursor:
        for statement in STATEMENTS:
            cursor.execute(statement.format(json="jsonb" if is_postgres else "text"))
        drop_tables(*DUELY.split())
        cursor.execute("VACUUM ANALYZE" if is_postgres else "ANALYZE")


def drop_tables(*beginnings: str) -> None:
    """Drop the tables whose names begin like that."""
    from django.db import connection

    is_postgres = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        if not is_postgres:
            cursor.execute("PRAGMA foreign_keys = OFF")
        names = [name for name in connection.introspection.table_names(cursor) if name.startswith(beginnings)]
        for name in names:
            cursor.execute(f'DROP TABLE IF EXISTS "{name}"{" CASCADE" if is_postgres else ""}')


if __name__ == "__main__":
    main()
