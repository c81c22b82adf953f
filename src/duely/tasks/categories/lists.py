"""The list of categories."""

from duely.api.filters import UUID_TEXT, Filter, Order, identifier, moments, text
from duely.api.lists import Listing
from duely.tasks.categories.schemas import CATEGORY_COLUMNS, Category, show_category
from duely.tasks.lists import named

CATEGORIES = Listing(
    name="categories",
    item=Category,
    columns=CATEGORY_COLUMNS,
    show=show_category,
    filters=(
        Filter("name", "name", text, {"type": "string"}, select=named),
        Filter("owner", "owner_id", identifier, UUID_TEXT, suffixes=("ne",)),
        moments("created_at", "created_at"),
        moments("updated_at", "updated_at"),
    ),
    orderings={
        "position": Order("position"),
        "name": Order("name"),
        "created_at": Order("created_at"),
        "updated_at": Order("updated_at"),
    },
    default_order="position",
    costly={"task_count": "task_count"},
)
