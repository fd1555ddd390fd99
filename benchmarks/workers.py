"""``python -m benchmarks.workers``: what more processes bring on one machine, under `CLIENTS` at once.

Each service runs alone, on the bundles of models/: one process whose networks have so many threads, or several that
share the cores. Requests a second and their p50 and p99 over `SECONDS`, of faces of landmarks; the clients take cores
from the same machine, whatever serves them. MiB are the proportional sizes of all its processes together.
"""

import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.ray_serve import TARGET, Load, list_processes, read_memory, start
from shared.bundle import read_bundle
from shared.cores import count_cores

CLIENTS, SECONDS = 64, 10.0


def main() -> int:
    """Print the table."""
    order: dict[str, object] = {"target": TARGET, "landmarks": read_bundle(Path("models") / TARGET).neutral}
    cores = count_cores()
    kinds = {(1, threads) for threads in {1, cores}} | {(workers, max(1, cores // workers)) for workers in {2, cores}}
    print(f"{cores} cores, {CLIENTS} clients")
    print(f"{'workers':>8} {'threads':>8} {'requests/s':>10} {'p50 ms':>8} {'p99 ms':>8} {'refused':>8} {'MiB':>8}")
    for workers, threads in sorted(kinds):
        with start(["service", "--workers", str(workers)], threads) as (address, pid):
            with Load(address, order, CLIENTS) as load:
                time.sleep(SECONDS)
            memory = read_memory(list_processes(pid))
        p50, p99 = 1000 * np.percentile(load.spent, [50, 99])
        refused = sum(status != 200 for status in load.statuses)
        rate = len(load.spent) / SECONDS
        print(f"{workers:8} {threads:8} {rate:10.1f} {p50:8.0f} {p99:8.0f} {refused:8} {memory:8.0f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
