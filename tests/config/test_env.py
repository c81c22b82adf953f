from pathlib import Path

import pytest

from duely.config.env import Environment, SettingError, load
from duely.core.dotenv import read_dotenv
from duely.guard.rules import Rate


def reader(**values: str) -> Environment:
    return Environment(values)


def test_a_missing_or_empty_variable_gives_the_default() -> None:
    assert reader().string("HOST", "127.0.0.1") == "127.0.0.1"
    assert reader(HOST="  ").string("HOST", "127.0.0.1") == "127.0.0.1"
    assert reader(PORT="").integer("PORT", 8000, minimum=1, maximum=9) == 8000
    assert reader().optional("PUBLIC_URL") is None


@pytest.mark.parametrize(
    "text,value",
    [("1", True), ("true", True), ("YES", True), ("on", True), ("0", False), ("False", False), ("no", False)],
)
def test_booleans_are_read_in_the_usual_words(text: str, value: bool) -> None:
    assert reader(DEBUG=text).boolean("DEBUG", not value) is value


@pytest.mark.parametrize("text", ["maybe", "2", "truee", "*"])
def test_a_boolean_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(SettingError, match=r"DEBUG: must be true or false"):
        reader(DEBUG=text).boolean("DEBUG", False)


@pytest.mark.parametrize("text", ["0", "65536", "8000.0", "8e3", "eighty", "9" * 30, "٨", "1_000", "+1", "0x10"])
def test_a_number_out_of_bounds_or_not_a_number_is_refused_with_the_bounds(text: str) -> None:
    with pytest.raises(SettingError, match=r"PORT: must be a whole number from 1 to 65535"):
        reader(PORT=text).integer("PORT", 8000, minimum=1, maximum=65535)


def test_a_number_at_each_bound_is_accepted() -> None:
    assert reader(PORT="1").integer("PORT", 8000, minimum=1, maximum=65535) == 1
    assert reader(PORT="65535").integer("PORT", 8000, minimum=1, maximum=65535) == 65535


def test_a_choice_ignores_case_and_names_what_is_allowed() -> None:
    assert reader(LOG_LEVEL="debug").choice("LOG_LEVEL", "INFO", allowed=("DEBUG", "INFO")) == "DEBUG"
    with pytest.raises(SettingError, match=r"LOG_LEVEL: must be one of DEBUG, INFO, not 'loud'"):
        reader(LOG_LEVEL="loud").choice("LOG_LEVEL", "INFO", allowed=("DEBUG", "INFO"))


def test_lists_drop_spaces_and_empty_items() -> None:
    assert reader(ALLOWED_HOSTS=" a.example , ,b.example,").words("ALLOWED_HOSTS") == ["a.example", "b.example"]


def test_networks_take_addresses_and_ranges_of_both_families() -> None:
    found = reader(TRUSTED_PROXIES="10.0.0.0/8, ::1, 192.0.2.7").networks("TRUSTED_PROXIES")
    assert [str(network) for network in found] == ["10.0.0.0/8", "::1/128", "192.0.2.7/32"]


@pytest.mark.parametrize("text", ["10.0.0.1/8", "proxy", "10.0.0.0/33", "fe80::1%eth0/64"])
def test_a_network_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="TRUSTED_PROXIES: must list addresses or ranges"):
        reader(TRUSTED_PROXIES=text).networks("TRUSTED_PROXIES")


@pytest.mark.parametrize(
    "text,origin",
    [
        ("https://tasks.example.org", "https://tasks.example.org"),
        ("https://tasks.example.org/", "https://tasks.example.org"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://Tasks.Example.org:80", "http://tasks.example.org:80"),
    ],
)
def test_an_origin_is_kept_without_its_slash(text: str, origin: str) -> None:
    assert reader(PUBLIC_URL=text).origin("PUBLIC_URL", "") == origin


@pytest.mark.parametrize(
    "text",
    [
        "tasks.example.org",
        "ftp://tasks.example.org",
        "https://",
        "https://a.example/path",
        "https://a.example?q=1",
        "https://user:pw@a.example",
        "https://a.example:99999",
        "https://a example",
        "http://[::1",
    ],
)
def test_an_address_with_more_than_an_origin_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="PUBLIC_URL: must be an address"):
        reader(PUBLIC_URL=text).origin("PUBLIC_URL", "")


def test_origins_are_written_as_browsers_write_them() -> None:
    text = "https://a.example.org/, https://b.example.org:443, http://c.example.org:80 ,http://localhost:3000"
    found = Environment({"X": text}, {}).origins("X")
    assert found == ["https://a.example.org", "https://b.example.org", "http://c.example.org", "http://localhost:3000"]


APPS = (
    *("capacitor://localhost", "tauri://localhost", "ionic://localhost", "http://tauri.localhost"),
    *("chrome-extension://abcdefghijklmnopabcdefghijklmnop", "moz-extension://0d6b9d0a-5f0c-4d8e-9a50-0a1b2c3d4e5f"),
)


@pytest.mark.parametrize("origin", APPS)
def test_origins_of_apps_and_extensions_are_accepted(origin: str) -> None:
    assert Environment({"X": origin}, {}).origins("X") == [origin]


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "null",
        "file://",
        "https://*.example.org",
        "capacitor://localhost/page",
        "app.example.org",
        "localhost:3000",
    ],
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="X: must list origins"):
        Environment({"X": text}, {}).origins("X")


@pytest.mark.parametrize("origin", APPS[:3])
def test_the_public_address_is_of_the_web(origin: str) -> None:
    with pytest.raises(SettingError, match="X: must be an address"):
        Environment({}, {}).origin("X", origin)


@pytest.mark.parametrize(
    "text, rate",
    [
        ("50/min", Rate(50, 60)),
        ("5/s", Rate(5, 1)),
        ("1000/day", Rate(1000, 86_400)),
        ("20/HOUR", Rate(20, 3600)),
        ("5/10min", Rate(5, 600)),
        ("0", None),
    ],
)
def test_rates_are_parsed_in_every_form(text: str, rate: Rate | None) -> None:
    assert Environment({"X": text}, {}).rate("X", "1/s") == rate
    assert Environment({}, {}).rate("X", text) == rate


@pytest.mark.parametrize("text", ["50", "-1/min", "many", "5/fortnight", "1/9day", "0/min", "1.5/s", "1/0s"])
def test_a_rate_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="50/min"):
        Environment({"X": text}, {}).rate("X", "1/s")


BROKERS = ("redis", "amqp")


@pytest.mark.parametrize("text", ["redis://127.0.0.1:6379/1", "amqp://user:secret@host//"])
def test_an_address_of_a_known_kind_is_kept_as_it_is(text: str) -> None:
    assert Environment({"X": text}, {}).url("X", schemes=BROKERS) == text
    assert Environment({}, {}).url("X", schemes=BROKERS) is None


@pytest.mark.parametrize("text", ["http://secret@host", "redis:secret", "redis://", "secret", "redis:// secret"])
def test_an_address_of_another_kind_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(SettingError, match="redis://, amqp://") as refusal:
        Environment({"X": text}, {}).url("X", schemes=BROKERS)
    assert "secret" not in str(refusal.value)


def test_a_relative_path_starts_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert reader().path("DATA_DIR", Path("data")) == tmp_path / "data"
    assert reader(DATA_DIR="~/duely").path("DATA_DIR", Path("data")) == Path("/home/someone/duely")


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    tmp_path.joinpath("key").write_text("from the file\n")
    assert reader(SECRET_KEY_FILE=str(tmp_path / "key")).optional("SECRET_KEY") == "from the file"


def test_a_variable_and_its_file_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="set either SECRET_KEY or SECRET_KEY_FILE"):
        reader(SECRET_KEY="a", SECRET_KEY_FILE=str(tmp_path / "key")).optional("SECRET_KEY")


def test_a_secret_file_that_is_missing_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"SECRET_KEY_FILE: .* cannot be read"):
        reader(SECRET_KEY_FILE=str(tmp_path / "absent")).optional("SECRET_KEY")


def test_a_dotenv_file_is_read_as_people_write_it(tmp_path: Path) -> None:
    tmp_path.joinpath(".env").write_text(
        "\ufeff# comment\n"
        "\n"
        "PLAIN=value\n"
        "export EXPORTED = spaced out \n"
        "COMMENTED=value # why\n"
        "HASH=a#b\n"
        "EMPTY=\n"
        "ONLY_COMMENT=# nothing\n"
        "SINGLE='as $it is \\n' # why\n"
        'DOUBLE="line\\none \\"two\\" \\\\"\n',
        encoding="utf-8",
    )
    assert read_dotenv(tmp_path / ".env") == {
        "PLAIN": "value",
        "EXPORTED": "spaced out",
        "COMMENTED": "value",
        "HASH": "a#b",
        "EMPTY": "",
        "ONLY_COMMENT": "",
        "SINGLE": "as $it is \\n",
        "DOUBLE": 'line\none "two" \\',
    }


@pytest.mark.parametrize("line", ["just words", "1A=b", "A='open", 'A="open', "A='closed' then more"])
def test_a_dotenv_line_that_makes_no_sense_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    tmp_path.joinpath(".env").write_text(f"GOOD=1\n{line}\n")
    with pytest.raises(SettingError, match=r"\.env: line 2 of "):
        load(tmp_path, {})


def test_the_environment_wins_over_the_dotenv_file(tmp_path: Path) -> None:
    tmp_path.joinpath(".env").write_text("HOST=file\nPORT=1\n")
    values = load(tmp_path, {"HOST": "process"})
    assert values.string("HOST", "") == "process"
    assert values.string("PORT", "") == "1"


def test_no_dotenv_file_is_no_fault(tmp_path: Path) -> None:
    assert read_dotenv(tmp_path / ".env") == {}
