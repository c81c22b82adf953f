"""Fifty people sign in at once, again and again: how many get in a second, and what do readers notice?

    .venv/bin/python bench/sign_in.py --clients 50 --seconds 15

Prints sign-ins per second with p50 and p99 in milliseconds, reads (a list of 20, four people, one each 50 ms) before
and meanwhile, and the peak memory of the web processes. On PostgreSQL when DATABASE_URL names one that may be filled.
"""

import argparse
import json
import re
import statistics
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

from service import Client, service

READERS = 4
PAUSE_SECONDS = 0.05


def run(
    port: int, credentials: bytes, token: str, clients: int, seconds: float
) -> tuple[list[float], list[float], Counter[int]]:
    """Milliseconds of each sign-in and each read of this time, and how many sign-ins had which status."""
    sign_ins: list[float] = []
    reads: list[float] = []
    statuses: Counter[int] = Counter()
    end = time.perf_counter() + seconds

    def sign_in() -> None:
        client = Client(port)
        while (begun := time.perf_counter()) < end:
            status, _ = client.send("POST", "auth/login/", credentials)
            statuses[status] += 1
            sign_ins.append((time.perf_counter() - begun) * 1000)

    def read() -> None:
        client = Client(port, token)
        while (begun := time.perf_counter()) < end:
            status, _ = client.send("GET", "tasks/")
            if status != 200:
                raise SystemExit(f"a read was answered with {status}")
            reads.append((time.perf_counter() - begun) * 1000)
            time.sleep(PAUSE_SECONDS)

    threads = [threading.Thread(target=sign_in) for _ in range(clients)]
    threads += [threading.Thread(target=read) for _ in range(READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sign_ins, reads, statuses


def web_memory_mib() -> float:
    """The peak resident memory of all `duely web` processes of this machine."""
    pids = subprocess.run(["pgrep", "-x", "duely web"], capture_output=True, text=True, check=False).stdout.split()
    peaks = [re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()) for pid in pids]
    return sum(int(peak[1]) for peak in peaks if peak) / 1024


def told(latencies: list[float]) -> str:
    cuts = statistics.quantiles(latencies, n=100)
    return f"{len(latencies):6} in all   p50 {cuts[49]:8.1f} ms   p99 {cuts[98]:8.1f} ms"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=15)
    wanted = parser.parse_args()
    with service(2000) as (port, password):
        credentials = json.dumps({"username": "maya", "password": password}).encode()
        token = json.loads(Client(port).send("POST", "auth/login/", credentials)[1])["access"]
        before = web_memory_mib()
        _, quiet, _ = run(port, credentials, token, 0, wanted.seconds / 3)
        sign_ins, reads, statuses = run(port, credentials, token, wanted.clients, wanted.seconds)
        print(f"sign-ins   {told(sign_ins)}   {statuses[200] / wanted.seconds:.1f}/s   {dict(statuses)}")
        print(f"reads, before  {told(quiet)}")
        print(f"reads, meanwhile {told(reads)}")
        print(f"memory of the web processes {before:.0f} → {web_memory_mib():.0f} MiB")


if __name__ == "__main__":
    main()
