"""Values for the driver and rows are the same as Django makes them."""

import json
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from django.db.models import JSONField

from duely.activity.models import Change
from duely.database.statements import build_row, driver_value, this_connection
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
def test_a_driver_value_is_the_one_that_its_field_makes(field: Any) -> None:
    database, compared = this_connection(), 0
    for value in VALUES:
        try:
            theirs = field.get_db_prep_save(value, database)
        except Exception as refused:  # noqa: BLE001 - whatever the field has against it
            with pytest.raises(type(refused)):
                driver_value(field, value, database)
            continue
        ours = driver_value(field, value, database)
        compared += 1
        if type(field) is JSONField and isinstance(value, list | dict):
            assert isinstance(ours, str)
            assert json.loads(ours) == value
            continue
        assert type(ours) is type(theirs)
        assert repr(ours) == repr(theirs)
    assert compared


def test_an_instant_without_a_zone_is_left_to_django() -> None:
    with pytest.warns(RuntimeWarning, match="naive"):
        driver_value(Task._meta.get_field("created_at"), datetime(2026, 11, 29), this_connection())  # noqa: DTZ001


def test_a_built_row_equals_one_made_by_its_model() -> None:
    given = {field.attname: number for number, field in enumerate(Task._meta.local_concrete_fields)}
    for is_stored in (False, True):
        ours = build_row(Task, given, is_stored=is_stored)
        theirs = Task.from_db("default", list(given), list(given.values())) if is_stored else Task(**given)
        assert type(ours) is Task
        assert vars(ours).keys() == vars(theirs).keys()
        assert {name: vars(ours)[name] for name in given} == given
        for name in ("adding", "db", "fields_cache"):
            assert getattr(ours._state, name) == getattr(theirs._state, name)


def test_a_row_built_from_another_row_does_not_share_its_state() -> None:
    one = build_row(Task, {field.attname: None for field in Task._meta.local_concrete_fields}, is_stored=True)
    other = build_row(Task, {**vars(one), "title": "Other"}, is_stored=True)
    other._state.fields_cache["category"] = "Other"
    assert (one.title, other.title) == (None, "Other")
    assert not one._state.fields_cache
