"""Paths that were met before are known by their shape."""

import pytest
from django.test import Client
from django.urls import Resolver404, resolve

from cast import V1
from duely.api.routes import resolve_path

ONE, OTHER = "0198c3a0-0000-7000-8000-00000000000a", "0198c3a0-0000-7000-8000-00000000000b"
PATHS = (
    "tasks/",
    f"tasks/{ONE}/",
    f"tasks/{OTHER.upper()}/",
    f"tasks/{ONE}/restore/",
    f"users/{ONE}/",
    "users/me/",
    "",
)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_resolved_as_django_resolves_it(path: str) -> None:
    match = resolve(V1 + path)
    for _ in range(2):
        assert resolve_path(V1 + path) == (match.func, match.kwargs)


@pytest.mark.parametrize(
    "path",
    ["tasks/*/", f"tasks/{ONE}{ONE}/", f"tasks/x{ONE}/", f"{ONE}/", f"tasks/{ONE}/{OTHER}/", f"users/{ONE}/restore/"],
)
def test_no_other_path_is_taken_for_one(path: str) -> None:
    resolve_path(f"{V1}tasks/{ONE}/")
    with pytest.raises(Resolver404):
        resolve(V1 + path)
    with pytest.raises(Resolver404):
        resolve_path(V1 + path)
    assert Client().get(V1 + path).status_code == 404
