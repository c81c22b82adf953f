"""The command that puts faults into the code and runs the tests on them."""

from pathlib import Path

import pytest

import mutation

SAMPLE = '''
"""Is 1 < 2? Nothing in here is changed."""

from functools import lru_cache

LEAST: int = 18


def old(age: "int | None", *, strict: bool = True) -> bool:
    if age is None and not strict:
        raise ValueError(f"{age + 1}")
    log.info("asked", age=1)
    tell(age)
    return age >= LEAST


def waiting(rows, now):
    return rows.filter(ended_at=None, until__gt=now).exclude(pk=0)


class Person:
    def __str__(self):
        return "somebody"
'''.lstrip()


def test_each_fault_is_one_small_change() -> None:
    assert [(found.line, found.after) for found in mutation.mutants("a/b.py", SAMPLE)] == [
        (5, "LEAST: int = 19"),
        (8, 'def old(age: "int | None", *, strict: bool = False) -> bool:'),
        (9, "if False:"),
        (9, "if age is not None and not strict:"),
        (9, "if age is None or not strict:"),
        (9, "if age is None and strict:"),
        (10, "pass"),
        (12, "pass"),
        (13, "return None"),
        (13, "return age > LEAST"),
        (17, "return None"),
        (17, "return rows.filter(until__gt=now).exclude(pk=0)"),
        (17, "return rows.filter(ended_at=None).exclude(pk=0)"),
        (17, "return rows.filter(ended_at=None, until__gt=now).exclude()"),
        (17, "return rows.filter(ended_at=None, until__gt=now).exclude(pk=1)"),
    ]


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    package = tmp_path / "src/toy/gate"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    (package / "rules.py").write_text(
        "def old(age):\n    return age >= 18\n\n\ndef young(age):\n    return not old(age)\n"
    )
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_rules.py").write_text(
        "from toy.gate.rules import old\n\n\ndef test_age():\n    assert old(19) and not old(3)\n"
    )
    return tmp_path


@pytest.mark.slow
def test_a_fault_that_no_test_notices_is_told(toy: Path) -> None:
    source = (toy / "src/toy/gate/rules.py").read_text()
    run = mutation.Run(toy, {"gate": ["tests"]}, jobs=2, timeout=60)
    tried = run.survivors(list(mutation.mutants("toy/gate/rules.py", source)))
    assert [(mutant.line, mutant.after, survived) for mutant, survived in tried] == [
        (2, "return None", False),
        (2, "return age > 18", True),
        (2, "return age >= 19", True),
        (6, "return None", True),
        (6, "return old(age)", True),
    ]


@pytest.mark.slow
def test_figures_about_tests_that_fail_anyway_are_refused(toy: Path) -> None:
    (toy / "tests/test_rules.py").write_text(
        "from toy.gate import rules\n\n\ndef test_age():\n    assert rules.old(3)\n"
    )
    source = (toy / "src/toy/gate/rules.py").read_text()
    run = mutation.Run(toy, {"gate": ["tests"]}, jobs=1, timeout=60)
    with pytest.raises(SystemExit, match="fail as it is"):
        list(run.survivors(list(mutation.mutants("toy/gate/rules.py", source))))
