"""The start screen of `duely serve`, and the password of the first administrator, which is shown once."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

log = structlog.get_logger("duely.serve")


@dataclass(frozen=True, slots=True)
class NewAdmin:
    """An administrator that was just created. `password` is None if the operator chose it."""

    username: str
    password: str | None


@dataclass(frozen=True, slots=True)
class Start:
    """The facts of the start screen. `notes`: warnings about settings."""

    url: str
    database: str
    admin: NewAdmin | None
    notes: Sequence[str] = ()

    @property
    def links(self) -> dict[str, str]:
        return {"page": f"{self.url}/", "docs": f"{self.url}/api/v1/docs/", "admin": f"{self.url}/admin/"}


def show_start(start: Start) -> None:
    """Print a panel on a terminal. On a pipe write a log record, and print the password to stderr instead."""
    if sys.stdout.isatty():
        _print_panel(start)
        return
    for note in start.notes:
        log.warning(note)
    log.info("duely is ready", database=start.database, **start.links)
    if start.admin is not None and start.admin.password is not None:
        print(
            f"First administrator: {start.admin.username}   password: {start.admin.password}   (shown only now)",
            file=sys.stderr,
            flush=True,
        )


def _print_panel(start: Start) -> None:
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    rows = {
        "Page": start.links["page"],
        "API documents": start.links["docs"],
        "Admin": start.links["admin"],
        "Data": start.database,
    }
    if start.admin is not None:
        rows["First admin"] = start.admin.username
        if start.admin.password is not None:
            rows["Password"] = f"{start.admin.password}   (shown only now)"
    if start.notes:
        rows["Note"] = "\n".join(start.notes)
    grid = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        grid.add_row(Text(name, style="bold"), Text(value))
    Console(highlight=False).print(Panel(grid, title="Duely is running", subtitle="Ctrl-C stops it", expand=False))
