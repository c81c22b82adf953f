"""The figures as a table, as JSON and as a chart."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """One operation of one contender in one round.

    CPU in milliseconds for each request; None: nobody can say. `others`: the share of the machine's processors that
    went to what has nothing to do with this run. `wrong`: requests without an answer or with another status.
    """

    contender: str
    operation: str
    connections: int
    round: int
    requests: int
    per_second: float
    p50: float
    p99: float
    longest: float
    server_cpu: float
    database_cpu: float | None
    others: float
    wrong: int


@dataclass(frozen=True)
class Row:
    """The medians of one operation of one contender. `spread`: (most - least) / median of the requests per second.

    `times`: how many times as many requests the first contender answers, by rounds; empty for itself. Within a round
    both were measured one after the other, so that these differ less than the figures themselves.
    """

    contender: str
    operation: str
    connections: int
    per_second: float
    spread: float
    p50: float
    p99: float
    server_cpu: float
    database_cpu: float | None
    times: tuple[float, ...]


@dataclass(frozen=True)
class Check:
    """What must hold, or a goal: what is to be reached."""

    name: str
    found: str
    is_met: bool


def medians(measurements: Iterable[Measurement]) -> list[Row]:
    """One row for each operation, number of connections and contender, in the order in which they come first.

    The contender that comes first is the one that the others are compared with.
    """
    groups: dict[tuple[int, str], dict[str, list[Measurement]]] = {}
    for each in measurements:
        groups.setdefault((each.connections, each.operation), {}).setdefault(each.contender, []).append(each)
    return [_row(group, next(iter(found.values()))) for found in groups.values() for group in found.values()]


def _row(group: Sequence[Measurement], compared: Sequence[Measurement]) -> Row:
    first = group[0]
    pairs = [] if group is compared else zip(compared, group, strict=True)
    rates = [each.per_second for each in group]
    middle = statistics.median(rates)
    database = [each.database_cpu for each in group if each.database_cpu is not None]
    return Row(
        contender=first.contender,
        operation=first.operation,
        connections=first.connections,
        per_second=middle,
        spread=(max(rates) - min(rates)) / middle if middle else 0.0,
        p50=statistics.median(each.p50 for each in group),
        p99=statistics.median(each.p99 for each in group),
        server_cpu=statistics.median(each.server_cpu for each in group),
        database_cpu=statistics.median(database) if database else None,
        times=tuple(best.per_second / max(each.per_second, 1e-9) for best, each in pairs),
    )


def noise(measurements: Sequence[Measurement]) -> str:
    """Whether someone else was using the machine."""
    shares = [each.others for each in measurements]
    middle = statistics.median(shares)
    verdict = "; such figures only compare within this run, roughly" if middle > QUIET else ""
    return f"used by others meanwhile: {middle:.0%} of the processors, at most {max(shares):.0%}{verdict}"


def table(rows: Sequence[Row], names: Sequence[str], what: dict[str, str]) -> str:
    """A table for people. names: the contenders in their order."""
    width = max(map(len, names)) + 2
    lines = []
    for connections in dict.fromkeys(row.connections for row in rows):
        lines += ["", f"{connections} connections", _head(width, names[0])]
        mine = [row for row in rows if row.connections == connections]
        for operation in dict.fromkeys(row.operation for row in mine):
            lines.append(f"{operation}: {what[operation]}")
            found = {row.contender: row for row in mine if row.operation == operation}
            lines += [_line(found[name], width) for name in names if name in found]
    return "\n".join(lines)


def _head(width: int, first: str) -> str:
    names = ("requests/s", "spread", "p50 ms", "p99 ms", "server ms", "database ms", f"{first} is")
    return " " * (width + 2) + "".join(f"{name:>13}" for name in names)


def _line(row: Row, width: int) -> str:
    times = f"x {statistics.median(row.times):.2f}" if row.times else ""
    between = f" ({min(row.times):.2f} to {max(row.times):.2f})" if len(row.times) > 1 else ""
    cells = (
        f"{row.per_second:,.0f}",
        f"{row.spread:.0%}",
        f"{row.p50:.1f}",
        f"{row.p99:.1f}",
        f"{row.server_cpu:.2f}",
        "-" if row.database_cpu is None else f"{row.database_cpu:.2f}",
        times,
    )
    return f"  {row.contender:{width}}" + "".join(f"{cell:>13}" for cell in cells) + between


def write(
    path: Path,
    about: dict[str, Any],
    measurements: Sequence[Measurement],
    checks: Sequence[Check],
    goals: Sequence[Check],
) -> None:
    """Everything that was found, as JSON."""
    found = {
        **about,
        "medians": [asdict(row) for row in medians(measurements)],
        "measurements": [asdict(each) for each in measurements],
        "checks": [asdict(check) for check in checks],
        "goals": [asdict(goal) for goal in goals],
    }
    path.write_text(json.dumps(found, indent=1) + "\n")


QUIET = 0.05
"""More of the machine than that in other hands spoils the figures."""
COLORS = ("#1f6f5c", "#c9803b", "#5b7db1", "#8f6aa8", "#8a8a8a")
BAR, GAP, LEFT, WIDE, RIGHT = 14, 10, 190, 520, 90


def chart(rows: Sequence[Row], names: Sequence[str], title: str) -> str:
    """Requests per second as bars, as SVG."""
    groups: dict[str, list[tuple[str, float]]] = {}
    for row in rows:
        label = f"{row.operation}, {row.connections} connections"
        groups.setdefault(label, []).append((row.contender, row.per_second))
    return bars(title, names, groups)


def bars(title: str, names: Sequence[str], groups: dict[str, list[tuple[str, float]]], digits: int = 0) -> str:
    """Groups of values, each with the name of what has it, as SVG."""
    most = max((value for group in groups.values() for _, value in group), default=1.0) or 1.0
    parts, y = [_text(12, 24, title, size=15)], 44
    for place, name in enumerate(names):
        x = 12 + place * 130
        parts += [_bar(x, y, 12, COLORS[place % len(COLORS)]), _text(x + 18, y + 11, name)]
    y += 34
    for label, group in groups.items():
        parts.append(_text(12, y + 12, label))
        for name, value in group:
            length = max(1, round(value / most * WIDE))
            parts.append(_bar(LEFT, y, length, COLORS[names.index(name) % len(COLORS)]))
            parts.append(_text(LEFT + length + 6, y + 11, f"{value:,.{digits}f}"))
            y += BAR
        y += GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDE + RIGHT}" height="{y}" font-family="sans-serif">'
    )
    return "\n".join([head, '<rect width="100%" height="100%" fill="#ffffff"/>', *parts, "</svg>", ""])


def _bar(x: int, y: int, length: int, color: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{length}" height="{BAR - 2}" fill="{color}"/>'


def _text(x: int, y: int, text: str, size: int = 11) -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="#222222">{escape(text)}</text>'
