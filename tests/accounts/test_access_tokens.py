"""What passes for an access token, and what does not."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
import time_machine

from cast import Api, bearer, person, session_of
from duely.accounts import tokens
from duely.accounts.models import Session, User
from duely.core import clock
from duely.core.ids import new_id
from duely.core.keys import current_key

pytestmark = pytest.mark.django_db


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header: Any, claims: Any, key: bytes | None = None, algorithm: str = "sha256") -> str:
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    return sealed(list(map(b64, parts)), key, algorithm)


def sealed(parts: list[str], key: bytes | None = None, algorithm: str = "sha256") -> str:
    text = ".".join(parts)
    return f"{text}.{b64(hmac.digest(current_key('access') if key is None else key, text.encode(), algorithm))}"


def respelled(token: str) -> str:
    """The same bytes in other letters: the last of 43 letters has two bits to spare."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + letters[letters.index(token[-1]) + 1]


class Forge:
    """Makes tokens for a real, live session, right but for one thing."""

    def __init__(self) -> None:
        self.user = person("alice")
        session = session_of(self.user)
        at = int(clock.now().timestamp())
        self.key = current_key("access")
        self.header = {"alg": "HS256", "kid": tokens.key_id(self.key), "typ": "at+jwt"}
        self.claims = {
            "iss": "duely",
            "aud": "duely-api",
            "typ": "access",
            "sub": str(self.user.id),
            "sid": str(session.id),
            "iat": at,
            "exp": at + 600,
        }

    def token(self, **claims: Any) -> str:
        return signed(self.header, {**self.claims, **claims})

    def headed(self, **header: Any) -> str:
        return signed({**self.header, **header}, self.claims)

    def without(self, name: str) -> str:
        return signed(self.header, {key: value for key, value in self.claims.items() if key != name})

    def repeated(self, name: str, value: Any) -> str:
        text = json.dumps(self.claims)
        return signed(self.header, f'{text[:-1]}, "{name}": {json.dumps(value)}}}'.encode())


NONE = {"alg": "none"}
BAD: dict[str, Callable[[Forge], str]] = {
    "nothing": lambda forge: "",
    "no dots": lambda forge: "abc",
    "only dots": lambda forge: "..",
    "two parts": lambda forge: forge.token().rpartition(".")[0],
    "four parts": lambda forge: forge.token() + ".x",
    "no signature": lambda forge: forge.token().rpartition(".")[0] + ".",
    "not base64": lambda forge: "!!!.???.***",
    "not JSON": lambda forge: signed(b"header", b"claims"),
    "a list": lambda forge: signed(forge.header, []),
    "a list as header": lambda forge: signed([], forge.claims),
    "null": lambda forge: signed(forge.header, None),
    "not UTF-8": lambda forge: signed(forge.header, b'{"iss": "\xff"}'),
    "deep": lambda forge: signed(forge.header, b"[" * 300),
    "huge": lambda forge: forge.token(pad="x" * 5000),
    "padding": lambda forge: forge.token() + "=",
    "another alphabet": lambda forge: forge.token().replace("-", "+").replace("_", "/") + "/",
    "a character too many": lambda forge: forge.token() + "A",
    "two characters too many": lambda forge: forge.token() + "AA",
    "another spelling of the signature": lambda forge: respelled(forge.token()),
    "trailing newline": lambda forge: forge.token() + "\n",
    "flipped signature": lambda forge: forge.token()[:-2] + ("AA" if forge.token()[-2:] != "AA" else "BB"),
    "other claims under the signature": lambda forge: forge.token().replace(
        b64(json.dumps(forge.claims).encode()), b64(json.dumps({**forge.claims, "sub": str(new_id())}).encode())
    ),
    "alg none": lambda forge: signed({**forge.header, **NONE}, forge.claims).rpartition(".")[0] + ".",
    "alg none with signature": lambda forge: forge.headed(**NONE),
    "alg None": lambda forge: forge.headed(alg="None"),
    "alg null": lambda forge: forge.headed(alg=None),
    "alg lower case": lambda forge: forge.headed(alg="hs256"),
    "alg list": lambda forge: forge.headed(alg=["HS256"]),
    "HS512": lambda forge: signed({**forge.header, "alg": "HS512"}, forge.claims, algorithm="sha512"),
    "RS256 in name": lambda forge: forge.headed(alg="RS256"),
    "no alg": lambda forge: signed({key: forge.header[key] for key in ("kid", "typ")}, forge.claims),
    "another key": lambda forge: signed(forge.header, forge.claims, b"k" * 32),
    "the key of another purpose": lambda forge: signed(forge.header, forge.claims, current_key("refresh")),
    "the empty key": lambda forge: signed(forge.header, forge.claims, b""),
    "the kid as key": lambda forge: signed(forge.header, forge.claims, forge.header["kid"].encode()),
    "kid of nobody": lambda forge: forge.headed(kid="0" * 16),
    "kid traversal": lambda forge: forge.headed(kid="../../dev/null"),
    "kid injection": lambda forge: forge.headed(kid="x' UNION SELECT 'key"),
    "kid number": lambda forge: forge.headed(kid=1),
    "kid list": lambda forge: forge.headed(kid=[]),
    "no kid": lambda forge: signed({key: forge.header[key] for key in ("alg", "typ")}, forge.claims),
    "crit": lambda forge: forge.headed(crit=["exp"]),
    "unknown crit": lambda forge: forge.headed(crit=["x"], x=1),
    "b64 false": lambda forge: forge.headed(b64=False, crit=["b64"]),
    "jku": lambda forge: forge.headed(jku="https://example.org/keys"),
    "jwk": lambda forge: forge.headed(jwk={"kty": "oct", "k": b64(b"k" * 32)}),
    "x5u": lambda forge: forge.headed(x5u="https://example.org/cert"),
    "another header typ": lambda forge: forge.headed(typ="JWT"),
    "zip": lambda forge: forge.headed(zip="DEF"),
    "repeated header member": lambda forge: signed(
        f'{{"alg": "none", {json.dumps(forge.header)[1:]}'.encode(), forge.claims
    ),
    "another typ": lambda forge: forge.token(typ="refresh"),
    "typ list": lambda forge: forge.token(typ=["access"]),
    "another issuer": lambda forge: forge.token(iss="someone"),
    "issuer list": lambda forge: forge.token(iss=["duely"]),
    "another audience": lambda forge: forge.token(aud="other"),
    "audience list": lambda forge: forge.token(aud=["duely-api", "other"]),
    "audience null": lambda forge: forge.token(aud=None),
    "run out": lambda forge: forge.token(exp=forge.claims["iat"] - 1),
    "run out now": lambda forge: forge.token(exp=forge.claims["iat"]),
    "exp float": lambda forge: forge.token(exp=forge.claims["exp"] + 0.5),
    "exp text": lambda forge: forge.token(exp=str(forge.claims["exp"])),
    "exp true": lambda forge: forge.token(exp=True),
    "exp null": lambda forge: forge.token(exp=None),
    "exp negative": lambda forge: forge.token(exp=-1),
    "exp infinite": lambda forge: forge.repeated("exp", float("inf")),
    "exp list": lambda forge: forge.token(exp=[forge.claims["exp"]]),
    "iat in an hour": lambda forge: forge.token(iat=forge.claims["iat"] + 3600, exp=forge.claims["exp"] + 3600),
    "iat text": lambda forge: forge.token(iat="now"),
    "nbf in an hour": lambda forge: forge.token(nbf=forge.claims["iat"] + 3600),
    "unknown claim": lambda forge: forge.token(role="admin"),
    "repeated sub": lambda forge: forge.repeated("sub", str(new_id())),
    "repeated same sub": lambda forge: forge.repeated("sub", forge.claims["sub"]),
    "repeated exp": lambda forge: forge.repeated("exp", 9_999_999_999),
    "another sub": lambda forge: forge.token(sub=str(person("bob").id)),
    "another sid": lambda forge: forge.token(sid=str(session_of(person("bob")).id)),
    "unknown sid": lambda forge: forge.token(sid=str(new_id())),
    "sub and sid swapped": lambda forge: forge.token(sub=forge.claims["sid"], sid=forge.claims["sub"]),
    "sub upper case": lambda forge: forge.token(sub=str(forge.claims["sub"]).upper()),
    "sub in braces": lambda forge: forge.token(sub="{" + str(forge.claims["sub"]) + "}"),
    "sub number": lambda forge: forge.token(sub=1),
    "sub with NUL": lambda forge: forge.token(sub="\0"),
    "sid null": lambda forge: forge.token(sid=None),
    **{f"no {name}": (lambda forge, name=name: forge.without(name)) for name in sorted(tokens.CLAIMS)},
}


def answer(authorization: str) -> Any:
    return Api(headers={"Authorization": authorization}).get("users/me/", X_Request_ID="same")


def test_the_forge_makes_good_tokens_too() -> None:
    forge = Forge()
    assert answer(f"Bearer {forge.token()}").status_code == 200
    assert answer(f"Bearer {forge.token(exp=10**30)}").status_code == 200
    assert answer(f"Bearer {forge.token(iat=forge.claims['iat'] + 20)}").status_code == 200


@pytest.mark.parametrize("name", BAD)
def test_a_bad_token_is_refused(name: str) -> None:
    response = answer(f"Bearer {BAD[name](Forge())}")
    assert response.status_code == 401
    assert response.json()["code"] == "not_authenticated"
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_every_bad_token_gets_the_same_answer() -> None:
    forge = Forge()
    samples = ("", "abc", forge.token(exp=0), forge.headed(alg="none"), forge.token(sid=str(new_id())))
    assert len({answer(f"Bearer {token}").content for token in samples}) == 1


@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "Basic {}",
        "Token {}",
        "Bearer",
        "Bearer {} ",
        " Bearer {}x",
        "Bearer {},Bearer {}",
        "Bearer\t{}",
        "Bearer {}\xe9",
    ],
)
def test_other_authorization_headers_are_refused(form: str) -> None:
    assert answer(form.replace("{}", Forge().token())).status_code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer ", "bEARER   "])
def test_the_scheme_is_read_in_any_case_with_blanks(scheme: str) -> None:
    assert answer(f"{scheme} {Forge().token()}").status_code == 200


def test_no_header_is_refused() -> None:
    assert Api().get("users/me/").status_code == 401


def test_a_token_in_the_query_is_no_token() -> None:
    token = Forge().token()
    assert Api().get(f"users/me/?access_token={token}").status_code in (400, 401)


def test_a_remembered_token_still_runs_out() -> None:
    with time_machine.travel(clock.now(), tick=False) as traveller:
        headers = bearer(person("alice"))
        assert answer(headers["Authorization"]).status_code == 200
        traveller.shift(600)
        assert answer(headers["Authorization"]).status_code == 401


def test_a_remembered_token_dies_with_its_key(settings: Any) -> None:
    headers = bearer(person("alice"))
    assert answer(headers["Authorization"]).status_code == 200
    settings.SECRET_KEY = "another key, made for the rotation of keys 4711"
    assert answer(headers["Authorization"]).status_code == 401


def test_refusals_are_not_remembered() -> None:
    tokens._verified.cache_clear()
    forge = Forge()
    for number in range(20):
        answer(f"Bearer {forge.token(role=str(number))}")
    assert tokens._verified.cache_info().currsize == 0
    assert tokens._verified.cache_info().maxsize == tokens.REMEMBERED_TOKENS


def test_the_kid_tells_nothing_of_the_key() -> None:
    key = current_key("access")
    assert tokens.key_id(key) not in key.hex()
    assert tokens.key_id(key) != hashlib.sha256(key).hexdigest()[:16]


@pytest.mark.parametrize(
    "columns",
    [{"ended_at": clock.now()}, {"expires_at": clock.now()}, {"ended_at": clock.now(), "end_reason": "ended"}],
)
def test_an_ended_or_expired_session_is_refused(columns: dict[str, Any]) -> None:
    headers = bearer(person("alice"))
    Session.objects.update(**columns)
    assert answer(headers["Authorization"]).status_code == 401


def test_an_inactive_user_is_refused() -> None:
    headers = bearer(person("alice"))
    User.objects.update(is_active=False)
    assert answer(headers["Authorization"]).status_code == 401


def test_the_check_is_one_statement(django_assert_num_queries: Any, rf: Any) -> None:
    from duely.accounts.auth import authenticate
    from duely.core.actor import Origin

    user = person("alice", time_zone="Europe/Berlin")
    request = rf.get("/", headers=bearer(user))
    request.origin = Origin()
    with django_assert_num_queries(1):
        actor = authenticate(request)
    assert (actor.id, actor.name, actor.role, actor.zone, actor.seq) == (
        user.id,
        "alice",
        "member",
        "Europe/Berlin",
        0,
    )


def test_the_check_reads_the_last_number_of_the_log(rf: Any) -> None:
    from duely.accounts.auth import authenticate
    from duely.core.actor import Origin

    api = Api(person("alice", role="admin"))
    api.patch("profile/", {"bio": "1"})
    api.patch("profile/", {"bio": "2"})
    request = rf.get("/", headers=api.headers)
    request.origin = Origin()
    actor = authenticate(request)
    assert (actor.seq, actor.role) == (2, "admin")


@pytest.mark.parametrize("place", [0, 1])
def test_a_part_in_another_spelling_is_refused_whoever_signed_it(place: int) -> None:
    forge = Forge()
    texts = [json.dumps(part) for part in (forge.header, forge.claims)]
    parts = [b64(text.ljust(len(text) + 2 - len(text) % 3).encode()) for text in texts]  # two bits to spare
    assert answer(f"Bearer {sealed(parts)}").status_code == 200
    parts[place] = respelled(parts[place])
    assert answer(f"Bearer {sealed(parts)}").status_code == 401


@pytest.mark.parametrize("ahead, status", [(1, 200), (30, 200), (31, 401)])
def test_clocks_of_two_machines_may_differ_by_half_a_minute(ahead: int, status: int) -> None:
    with time_machine.travel(clock.now().replace(microsecond=0), tick=False):
        forge = Forge()
        assert answer(f"Bearer {forge.token(iat=forge.claims['iat'] + ahead)}").status_code == status


@pytest.mark.parametrize("length, looked_at", [(1024, 1), (1025, 0)])
def test_a_text_that_no_token_is_as_long_as_is_not_looked_at(length: int, looked_at: int) -> None:
    tokens._verified.cache_clear()
    assert answer("Bearer " + "x" * length).status_code == 401
    assert tokens._verified.cache_info().misses == looked_at
