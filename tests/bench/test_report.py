"""The pure parts of the benchmark."""

import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))

import goals
import machine
import report
import wrk
from report import Measurement


def measurement(contender: str, number: int, per_second: float, **other: object) -> Measurement:
    found = {
        "operation": "L",
        "connections": 16,
        "requests": 100,
        "p50": 1.0,
        "p99": 2.0,
        "longest": 3.0,
        "server_cpu": 0.5,
        "database_cpu": None,
        "others": 0.0,
        "wrong": 0,
    }
    return Measurement(contender=contender, round=number, per_second=per_second, **{**found, **other})  # type: ignore[arg-type]


ROUNDS = [
    measurement(name, number, rate)
    for name, rates in (("duely", (90, 110, 100)), ("baseline", (20, 20, 40)))
    for number, rate in enumerate(rates)
]


def test_medians_are_of_all_rounds() -> None:
    rows = report.medians(ROUNDS)
    assert [(row.contender, row.per_second, row.spread) for row in rows] == [("duely", 100, 0.2), ("baseline", 20, 1.0)]


def test_the_ratio_says_how_many_times_as_quick_the_first_one_is() -> None:
    assert [row.times for row in report.medians(ROUNDS)] == [(), (4.5, 5.5, 2.5)]


def test_the_table_has_a_line_for_each_contender() -> None:
    lines = report.table(report.medians(ROUNDS), ["duely", "baseline"], {"L": "list"}).splitlines()
    assert [line.split()[:2] for line in lines[-2:]] == [["duely", "100"], ["baseline", "20"]]
    assert lines[-1].endswith("x 4.50 (2.50 to 5.50)")


def test_what_nobody_can_say_is_no_zero() -> None:
    assert report.medians(ROUNDS)[0].database_cpu is None
    known = [measurement("duely", number, 1, database_cpu=cpu) for number, cpu in enumerate((0.1, 0.3, 0.2))]
    assert report.medians(known)[0].database_cpu == 0.2


def test_a_busy_machine_is_told_of() -> None:
    assert "roughly" not in report.noise(ROUNDS)
    assert "roughly" in report.noise([measurement("duely", 0, 1, others=0.2)])


def test_the_chart_has_a_bar_for_each_contender() -> None:
    chart = report.chart(report.medians(ROUNDS), ["duely", "baseline"], "a < b")
    assert "a &lt; b" in chart
    assert chart.count("<rect") == 1 + 2 + 2


def test_what_wrk_prints_is_understood() -> None:
    load = wrk.parsed(
        "Running 1s test\n"
        'JSON {"requests": 10, "microseconds": 1000000, "p50": 1500, "p99": 9000, "max": 10000, "broken": 1,'
        ' "timeouts": 2, "statuses": {"200": 8, "503": 2}}\n'
    )
    assert (load.p50, load.p99, load.seconds) == (1.5, 9.0, 1.0)
    assert load.wrong(frozenset({200})) == 5


def test_a_run_without_figures_is_refused() -> None:
    with pytest.raises(SystemExit, match="unable to connect"):
        wrk.parsed("unable to connect")


def test_processor_time_and_memory_of_a_process_are_read() -> None:
    before = machine.cpu_seconds(os.getpid())
    while machine.cpu_seconds(os.getpid()) < before + 0.03:
        pass
    assert machine.memory_mib(os.getpid()) > 1
    assert machine.busy_seconds() > 0


def found_of(database: str, *measurements: Measurement) -> list[tuple[str, str, bool]]:
    return [(each.name, each.found, each.is_met) for each in goals.goals(report.medians(measurements), database)]


def test_goals_are_told_of_beside_what_was_found() -> None:
    run = [
        measurement("duely", 0, 700.0, p99=50.0),
        measurement("baseline", 0, 100.0, p50=49.0),
        measurement("floor", 0, 1400.0),
        measurement("duely", 0, 1.0, connections=64),
    ]
    assert found_of("postgres", *run) == [
        ("L: 7 times the baseline", "7.0 times", True),
        ("L: p99 at most the baseline's p50, 49 ms", "50 ms", False),
        ("L: 55% of the floor", "50%", False),
    ]


def test_on_sqlite_writes_have_a_goal_of_their_own() -> None:
    run = [measurement("duely", 0, 100.0), measurement("duely", 0, 100.0, operation="C", p99=30.0)]
    assert found_of("sqlite", *run) == [("C on SQLite: p99 30 ms", "30 ms", True)]
