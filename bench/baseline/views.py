"""The API: /api/v1/tasks/."""

from typing import Any

from django.db import transaction
from rest_framework import serializers, viewsets

from baseline.models import Activity, Task


class TaskSerializer(serializers.ModelSerializer):
    """A task. Its category shows as its id, which is in the task's own row."""

    class Meta:
        model = Task
        fields = [
            "id",
            "owner",
            "title",
            "description",
            "status",
            "priority",
            "due_date",
            "category",
            "tags",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["owner"]


class TaskViewSet(viewsets.ModelViewSet):
    """My tasks, without those in the trash."""

    serializer_class = TaskSerializer
    filterset_fields = ["status", "priority", "category"]
    search_fields = ["title", "description"]
    ordering_fields = ["created_at", "updated_at", "due_date", "title"]
    ordering = ["-created_at"]

    def get_queryset(self) -> Any:
        """What this user may see."""
        return Task.objects.filter(owner=self.request.user, deleted_at__isnull=True)

    @transaction.atomic
    def perform_create(self, serializer: Any) -> None:
        """Make a task, with its row in the log."""
        task = serializer.save(owner=self.request.user)
        self._record("task.created", task, {name: [None, self.request.data[name]] for name in self.request.data})

    @transaction.atomic
    def perform_update(self, serializer: Any) -> None:
        """Change a task, with a row in the log."""
        changed = serializer.validated_data
        before = {name: getattr(serializer.instance, name) for name in changed}
        task = serializer.save()
        changes = {name: [str(before[name]), str(getattr(task, name))] for name in changed}
        self._record("task.updated", task, changes)

    def _record(self, action: str, task: Task, changes: dict[str, Any]) -> None:
        Activity.objects.create(user=self.request.user, task=task, action=action, changes=changes)
