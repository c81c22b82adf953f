"""One process of several that all spend the same limit at once; run by test_stores.py.

Arguments: how many threads, the limit, the store. Waits for a line on standard input, then prints as JSON how many
calls were let through within a window that outlasts the test.
"""

import json
import os
import sys
import threading

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


def main(threads: int, limit: int, kind: str) -> None:
    # On a busy machine so many threads wait for each other longer than a request would.
    stores.REDIS_TIMEOUT_SECONDS = 10
    store = stores.shared() if kind == "redis" else stores.Database()
    assert store is not None
    passed: list[bool] = []
    faults: list[str] = []

    def hammer() -> None:
        try:
            passed.extend(store.spend("everyone", Rate(limit, WINDOW_SECONDS)).is_allowed for _ in range(CALLS))
        except Exception as fault:  # noqa: BLE001 - reported to the test
            faults.append(repr(fault))
        finally:
            connection.close()

    workers = [threading.Thread(target=hammer) for _ in range(threads)]
    print("ready", flush=True)
    sys.stdin.readline()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(json.dumps({"passed": sum(passed), "faults": faults}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
