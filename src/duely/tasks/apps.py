"""Django's view of this module."""

from django.apps import AppConfig


class TasksConfig(AppConfig):
    """Tasks and categories."""

    name = "duely.tasks"

    def ready(self) -> None:
        """Follow the changes of other modules that tasks depend on."""
        from duely.activity.actions import follow
        from duely.api.idempotency import leave_out
        from duely.tasks import queries, reactions

        follow("user.profile_updated", reactions.on_profile_updated)
        leave_out("description", queries.descriptions)
