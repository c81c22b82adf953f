"""Settings that are kept."""

from typing import Any

from duely.core.settings import setting


def test_they_are_those_of_django_also_when_a_test_overrides_them(settings: Any) -> None:
    before = setting("PUBLIC_URL")
    assert before == settings.PUBLIC_URL
    settings.PUBLIC_URL = "https://elsewhere.example"
    assert setting("PUBLIC_URL") == "https://elsewhere.example"
    settings.PUBLIC_URL = before
    assert setting("PUBLIC_URL") == before
