"""Headers for browsers: security headers of every answer, and CORS for the origins of the setting."""

from typing import Any

import pytest
from django.test import Client

from cast import V1, Api, adam, alice
from contract import operations
from duely.api.idempotency import REPLAYED
from duely.http.headers import ACCEPTED_HEADERS, EXPOSED_HEADERS

pytestmark = pytest.mark.django_db

APP = "https://app.example.org"


@pytest.fixture
def shared(settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = [APP, "http://localhost:3000"]


def policy(path: str, **headers: str) -> dict[str, str]:
    answer = Client().get(path, headers=headers)
    parts = (part.strip().partition(" ") for part in answer["Content-Security-Policy"].split(";"))
    return {name: value for name, _, value in parts}


@pytest.mark.parametrize("path", ["/", "/admin/login/", f"{V1}docs/", "/api/docs", f"{V1}", "/nowhere", "/api/nowhere"])
def test_no_page_runs_a_script_that_is_not_a_file_of_ours(path: str) -> None:
    told = policy(path)
    assert told["default-src"] == "'none'"
    assert told.get("script-src", "'none'") in {"'self'", "'none'"}
    assert told["frame-ancestors"] == "'none'"


def test_an_answer_of_the_api_may_load_nothing() -> None:
    assert policy(f"{V1}tasks/") == {"default-src": "'none'", "frame-ancestors": "'none'"}


def test_only_pages_that_need_it_may_write_styles() -> None:
    assert policy("/")["style-src"] == "'self'"
    for path in ("/admin/login/", f"{V1}docs/"):
        assert policy(path)["style-src"] == "'self' 'unsafe-inline'"


@pytest.mark.parametrize("path", ["/", "/healthz", f"{V1}tasks/"])
def test_hsts_is_sent_if_the_public_address_is_https(path: str, settings: Any) -> None:
    assert "Strict-Transport-Security" not in Client().get(path)
    settings.PUBLIC_URL = "https://tasks.example.org"
    assert Client().get(path)["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.usefixtures("shared")
def test_a_page_of_an_allowed_origin_may_read_answers_and_errors() -> None:
    me = Api(alice())
    for answer in (me.get("tasks/", Origin=APP), me.get("tasks/nothing/", Origin=APP), Api().get("tasks/", Origin=APP)):
        assert answer["Access-Control-Allow-Origin"] == APP
        assert answer["Access-Control-Expose-Headers"] == EXPOSED_HEADERS
        assert "Origin" in answer["Vary"]
        assert "Access-Control-Allow-Credentials" not in answer


def test_a_page_of_an_allowed_origin_may_send_and_read_every_header_of_the_document() -> None:
    sent = {
        each["name"]
        for operation in operations()
        for each in operation.spec.get("parameters", [])
        if each["in"] == "header"
    }
    told = {
        name
        for operation in operations()
        for response in operation.spec["responses"].values()
        for name in response.get("headers", {})
    }
    assert sent > {"Idempotency-Key", "If-Match"}
    assert sent <= set(ACCEPTED_HEADERS.split(", "))
    assert told > {"ETag", "Location"}
    assert told <= set(EXPOSED_HEADERS.split(", "))
    assert REPLAYED in EXPOSED_HEADERS


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(
    "origin", ["https://evil.example.org", "https://app.example.org.evil.org", "http://app.example.org", "null", ""]
)
def test_a_page_of_another_origin_may_not(origin: str) -> None:
    answer = Api(alice()).get("tasks/", Origin=origin)
    assert answer.status_code == 200
    assert "Access-Control-Allow-Origin" not in answer
    assert "Origin" in answer["Vary"]


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("path", [f"{V1}tasks/", "/api/tasks", f"{V1}auth/login/"])
def test_a_preflight_of_an_allowed_origin_is_answered(path: str) -> None:
    answer = Client().options(path, headers={"Origin": APP, "Access-Control-Request-Method": "PATCH"})
    assert answer.status_code == 204
    assert answer["Access-Control-Allow-Origin"] == APP
    assert "PATCH" in answer["Access-Control-Allow-Methods"]
    assert "Authorization" in answer["Access-Control-Allow-Headers"]
    assert answer["Access-Control-Max-Age"] == "600"


@pytest.mark.usefixtures("shared")
def test_a_preflight_of_another_origin_is_refused() -> None:
    asked = {"Origin": "https://evil.example.org", "Access-Control-Request-Method": "GET"}
    answer = Client().options(f"{V1}tasks/", headers=asked)
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


def test_without_the_setting_there_is_no_cors() -> None:
    answer = Api(alice()).get("tasks/", Origin=APP)
    assert not [name for name in answer.headers if name.startswith("Access-Control")]
    assert "Origin" not in answer.headers.get("Vary", "")


@pytest.mark.usefixtures("shared")
def test_pages_are_for_our_own_origin_alone() -> None:
    for path in ("/", "/admin/login/"):
        assert "Access-Control-Allow-Origin" not in Client().get(path, headers={"Origin": APP})


def test_the_admin_pages_carry_no_script_of_their_own() -> None:
    browser = Client()
    browser.force_login(adam(), backend="duely.accounts.backends.AdminBackend")
    for path in ("/admin/", "/admin/accounts/user/", "/admin/activity/change/", "/admin/jobs/job/", f"{V1}docs/", "/"):
        page = browser.get(path).content.decode()
        for script in page.split("<script")[1:]:
            tag, _, _ = script.partition(">")
            assert "src=" in tag or 'type="application/json"' in tag, (path, tag)
        assert " onclick=" not in page
