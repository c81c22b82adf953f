"""The fingerprint of the secret key in the database."""

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from duely.activity.actions import SYSTEM_LOG
from duely.activity.models import Change
from duely.core.clock import now
from duely.core.keys import fingerprints
from duely.guard import actions
from duely.guard.models import InstalledKey
from duely.http import health

pytestmark = pytest.mark.django_db
OLD = "kZ4vT8xQ2mW6nB0cR5yH9jL3pF7gD1sA-the-old-one"
NEW = "another key, made for the rotation of keys 4711"


@pytest.fixture
def key(settings: Any) -> Any:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = OLD, []
    return settings


def changes() -> list[Any]:
    rows = Change.objects.filter(owner_id=SYSTEM_LOG, action="security.key_changed").order_by("seq")
    return [change["fingerprint"] for change in rows.values_list("changes", flat=True)]


def test_the_first_process_stores_the_fingerprint_of_its_key(key: Any) -> None:
    assert actions.claim_key(now=now()) == fingerprints()[0]
    assert actions.claim_key(now=now()) == fingerprints()[0]
    assert InstalledKey.objects.get().fingerprint == fingerprints()[0]
    assert changes() == []


def test_a_fingerprint_does_not_reveal_any_key(key: Any) -> None:
    [fingerprint] = fingerprints()
    assert len(fingerprint) == 16
    assert fingerprint not in OLD
    key.SECRET_KEY = NEW
    assert fingerprints() != (fingerprint,)


def test_another_key_changes_nothing(key: Any) -> None:
    old = actions.claim_key(now=now())
    key.SECRET_KEY = NEW

    assert actions.claim_key(now=now()) == old
    assert old not in fingerprints()
    assert InstalledKey.objects.get().fingerprint == old


def test_a_key_replaces_the_stored_one_if_that_is_a_fallback(key: Any) -> None:
    old = actions.claim_key(now=now())
    key.SECRET_KEY, key.SECRET_KEY_FALLBACKS = NEW, [OLD]

    assert actions.claim_key(now=now()) == fingerprints()[0]

    assert InstalledKey.objects.get().fingerprint == fingerprints()[0]
    assert changes() == [[old, fingerprints()[0]]]
    key.SECRET_KEY_FALLBACKS = []
    assert actions.claim_key(now=now()) == fingerprints()[0]
    assert len(changes()) == 1


def test_nodes_that_change_the_key_at_once_record_it_once(key: Any) -> None:
    old = actions.claim_key(now=now())
    for _ in range(2):
        actions._replace_key(old, "0123456789abcdef", now())

    assert changes() == [[old, "0123456789abcdef"]]


def test_a_lost_key_can_be_replaced(key: Any) -> None:
    old = actions.claim_key(now=now())
    key.SECRET_KEY = NEW

    for _ in range(2):
        actions.adopt_key(now=now())

    assert InstalledKey.objects.get().fingerprint == fingerprints()[0]
    assert changes() == [[old, fingerprints()[0]]]


def test_there_is_one_key(key: Any) -> None:
    actions.claim_key(now=now())
    with pytest.raises(IntegrityError), transaction.atomic():
        InstalledKey.objects.create(id=2, fingerprint="x", since=now())


def test_a_process_with_another_key_is_not_ready(key: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It began when the database was away."""
    monkeypatch.setattr(connection, "close", lambda: None)  # the transaction of this test goes on
    assert health.System().check()["secret_key"] == "ok"
    assert not InstalledKey.objects.exists()
    actions.claim_key(now=now())
    assert health.System().check()["secret_key"] == "ok"
    key.SECRET_KEY = NEW
    assert health.System().check()["secret_key"] == "another"
    assert not health.is_good(health.System().check())
