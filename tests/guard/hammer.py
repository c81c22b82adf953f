"""One process of several that all spend the same limit at once; run by test_stores.py.

Arguments: how many threads, the store. For each line on standard input, which is a limit, it prints as JSON how many
calls were let through within a window that outlasts the test.
"""

import json
import os
import sys
import threading
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "duely.config.settings")

import django
from django.conf import settings

settings.DATABASES["default"]["OPTIONS"].pop("pool", None)
django.setup()

from django.db import connection  # noqa: E402 - settings come first

from duely.guard import stores  # noqa: E402
from duely.guard.rules import Rate  # noqa: E402

CALLS = 4
WINDOW_SECONDS = 3600


def main(threads: int, kind: str) -> None:
    # On a busy machine so many threads wait for each other longer than a request would.
    stores.REDIS_TIMEOUT_SECONDS = 10
    store = stores.shared() if kind == "redis" else stores.Database()
    assert store is not None
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(hammer(store, threads, int(line))), flush=True)


def hammer(store: Any, threads: int, limit: int) -> dict[str, Any]:
    passed: list[bool] = []
    faults: list[str] = []

    def spend() -> None:
        try:
            rate = Rate(limit, WINDOW_SECONDS)
            passed.extend(store.spend(f"everyone {limit}", rate).is_allowed for _ in range(CALLS))
        except Exception as fault:  # noqa: BLE001 - reported to the test
            faults.append(repr(fault))
        finally:
            connection.close()

    workers = [threading.Thread(target=spend) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return {"passed": sum(passed), "faults": faults}


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
