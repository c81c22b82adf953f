"""Tasks and categories in the admin: to look at. They are changed through the API, which records it."""

from django.contrib import admin

from duely.api.admin import ReadOnlyAdmin
from duely.tasks.models import Category, Task


@admin.register(Task)
class TaskAdmin(ReadOnlyAdmin):
    """Every task, the trash included."""

    list_display = ("title", "owner", "status", "priority", "due_at", "created_at", "deleted_at")
    list_filter = ("status", "priority")
    list_select_related = ("owner",)
    search_fields = ("title",)
    ordering = ("-created_at", "-id")


@admin.register(Category)
class CategoryAdmin(ReadOnlyAdmin):
    """Every category."""

    list_display = ("name", "owner", "color", "position")
    list_select_related = ("owner",)
    search_fields = ("name",)
    ordering = ("owner", "position", "id")
