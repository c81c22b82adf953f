import re

from duely.core import errors
from duely.core.errors import FieldError, Refused, ValidationFailed, catalogue


def test_each_refusal_has_a_code_a_status_and_a_sentence() -> None:
    found = catalogue()
    assert {"validation_failed", "not_found", "internal_error"} <= set(found)
    for code, refusal in found.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
        assert 400 <= refusal.status <= 599
        assert re.fullmatch(r"[A-Z].*\.", refusal.title)


def test_no_two_refusals_share_a_code() -> None:
    found = []
    waiting = [Refused]
    while waiting:
        refusal = waiting.pop()
        waiting.extend(refusal.__subclasses__())
        if "code" in vars(refusal):
            found.append(refusal.code)
    assert sorted(found) == sorted(set(found))
    assert set(found) == set(catalogue())


def test_a_refusal_without_details_says_its_title() -> None:
    assert errors.Forbidden().detail == errors.Forbidden.title
    assert str(errors.Forbidden("Not on Sundays.")) == "Not on Sundays."


def test_a_validation_names_every_field_once_and_counts_them_right() -> None:
    title = FieldError("title", "required", "This field is required.")
    tags = FieldError("tags", "too_many", "Use fewer.")
    assert ValidationFailed(title).detail == "1 field is invalid: title."
    assert ValidationFailed(title, tags).detail == "2 fields are invalid: title, tags."
    assert ValidationFailed(title, FieldError("title", "too_long", "Shorter."), tags).detail == (
        "2 fields are invalid: title, tags."
    )


def test_refusals_that_need_headers_bring_them() -> None:
    assert errors.NotAuthenticated().headers == {"WWW-Authenticate": "Bearer"}
    assert errors.Unavailable().headers == {"Retry-After": "1"}


def test_refusals_do_not_share_state() -> None:
    first = errors.NotFound()
    first.headers["X-Other"] = "1"
    first.extra["more"] = True
    assert errors.NotFound().headers == {}
    assert errors.NotFound().extra == {}
