"""Values that go to the driver without Django's detour are those that the detour would have made."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest

from duely.activity.models import Change
from duely.core.records import stored, this_connection
from duely.tasks.models import Task

VALUES: list[Any] = [
    None,
    "",
    "Zoë",
    0,
    3,
    UUID("0190a5f2-3c5e-7d10-8a44-0123456789ab"),
    date(2026, 11, 29),
    datetime(2026, 11, 29, 12, 0, 0, 123456, tzinfo=UTC),
    [],
    ["home"],
    {"title": ["a", "b"]},
]


@pytest.mark.parametrize("field", [*Task._meta.local_concrete_fields, *Change._meta.local_concrete_fields], ids=str)
def test_a_stored_value_is_what_its_field_makes_of_it(field: Any) -> None:
    database, compared = this_connection(), 0
    for value in VALUES:
        try:
            theirs = field.get_db_prep_save(value, database)
        except Exception as refused:  # noqa: BLE001 - whatever the field has against it
            with pytest.raises(type(refused)):
                stored(field, value, database)
            continue
        ours = stored(field, value, database)
        assert type(ours) is type(theirs)
        assert repr(ours) == repr(theirs)
        compared += 1
    assert compared


def test_an_instant_without_a_zone_is_djangos_business() -> None:
    with pytest.warns(RuntimeWarning, match="naive"):
        stored(Task._meta.get_field("created_at"), datetime(2026, 11, 29), this_connection())  # noqa: DTZ001
