import pytest_django

from duely.core.keys import accepted_keys, current_key


def test_each_purpose_has_a_key_of_its_own_that_is_not_the_secret(settings: pytest_django.Settings) -> None:
    keys = [current_key(purpose) for purpose in ("cursor", "access", "cursor2")]
    assert len(set(keys)) == 3
    assert {len(key) for key in keys} == {32}
    assert settings.SECRET_KEY.encode() not in keys


def test_keys_follow_the_secret_and_old_secrets_stay_accepted(settings: pytest_django.Settings) -> None:
    old = current_key("cursor")
    old_secret = settings.SECRET_KEY
    settings.SECRET_KEY = "another secret that is long enough for this purpose"
    assert current_key("cursor") != old
    assert accepted_keys("cursor") == (current_key("cursor"),)
    settings.SECRET_KEY_FALLBACKS = [old_secret]
    assert accepted_keys("cursor") == (current_key("cursor"), old)
