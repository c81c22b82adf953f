"""The entry point. `duely health` runs without the command line, because loading it takes too long for a check."""

import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["health"] and "--help" not in sys.argv:
        from duely.cli.health import health

        raise SystemExit(health(sys.argv[2:]))
    from duely.cli.main import main as command_line

    command_line()
