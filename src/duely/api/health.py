"""Health: is the process alive, can it do its work."""

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe


def pending_migrations() -> list[str]:
    """The migrations that this program has and the database has not, in their order."""
    executor = MigrationExecutor(connection)
    return [str(migration) for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]


@require_safe
def alive(request: HttpRequest) -> JsonResponse:
    """200 while the process answers at all."""
    return JsonResponse({"status": "ok"})


@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """200 when the database answers and is migrated, else 503 with what is missing."""
    checks = {"database": "ok", "migrations": "ok"}
    try:
        if pending_migrations():
            checks["migrations"] = "pending"
    except Error:
        checks = {"database": "unreachable", "migrations": "unknown"}
    good = all(state == "ok" for state in checks.values())
    return JsonResponse({"status": "ok" if good else "unavailable", "checks": checks}, status=200 if good else 503)
