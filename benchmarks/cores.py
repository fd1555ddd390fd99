"""``python -m benchmarks.cores``: what more cores are worth to networks this small, as threads or as processes.

For 1, 2, 4, 8 and 16 cores, as far as there are so many: one process that is held to them, whose networks run on as
many threads, and as many processes with a core and a thread each. Figures are calls a second of all processes
together, the best of `ROUNDS`, and how often that is what one core does: what pays comes near to the number of cores.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
from PIL import Image

from benchmarks.ray_serve import TARGET
from service.inference.bundles import BundleFolder
from shared.detectors import load_detector

COUNTS, ROUNDS, SECONDS, SETTLING = (1, 2, 4, 8, 16), 3, 1.5, 5
NETWORKS = ("generator", "converter", "landmarks")


def load_calls(threads: int) -> dict[str, Callable[[], object]]:
    """One call of each network, at a batch of one, as the service makes it."""
    models = Path("models")
    target = BundleFolder(models, "cpu", threads).scan().targets[TARGET]
    neutral = np.array(target.manifest.neutral, np.float32)[None]  # (1, N, 2)
    picture = np.asarray(Image.open(models / TARGET / target.manifest.reference.file).convert("RGB"))
    detector = load_detector("mesh", models, threads)
    return {
        "generator": lambda: target.tl2f.run(neutral),
        "converter": lambda: target.converter.run(neutral),
        "landmarks": lambda: detector.detect(picture),
    }


def count_calls(cores: Sequence[int], together: Barrier) -> list[float]:
    """Calls a second of each network, from this process alone, on the cores named; all processes begin `together`."""
    os.sched_setaffinity(0, cores)
    calls = load_calls(len(cores))
    rates = []
    for name in NETWORKS:
        for _ in range(SETTLING):
            calls[name]()
        together.wait()
        begun, made = time.perf_counter(), 0
        while time.perf_counter() - begun < SECONDS:
            calls[name]()
            made += 1
        rates.append(made / (time.perf_counter() - begun))
    return rates


def measure(shares: Sequence[Sequence[int]]) -> list[float]:
    """Calls a second of each network, of as many processes as there are shares of the cores."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(len(shares), context) as pool:
        together = manager.Barrier(len(shares))
        found = list(pool.map(count_calls, shares, [together] * len(shares)))
    return [sum(rates) for rates in zip(*found, strict=True)]


def list_shares(cores: Sequence[int], counts: Sequence[int]) -> list[tuple[str, list[list[int]]]]:
    """What is measured: a name, and the cores of each process."""
    found = []
    for count in (each for each in counts if each <= len(cores)):
        some = list(cores[:count])
        found.append((f"threads of 1 process: {count}", [some]))
        if count > 1:
            found.append((f"processes of 1 thread: {count}", [[core] for core in some]))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cores", description=__doc__)
    parser.add_argument("--cores", type=int, nargs="+", default=COUNTS, help="how many (default: 1 2 4 8 16)")
    options = parser.parse_args(arguments)
    kinds = list_shares(sorted(os.sched_getaffinity(0)), options.cores)
    best = np.zeros((len(kinds), len(NETWORKS)))
    for _ in range(ROUNDS):  # in turns, so that a busy moment of the machine meets all
        best = np.maximum(best, [measure(shares) for _, shares in kinds])
    print(f"{'':26}" + "".join(f"{name + ' a second':>24}" for name in NETWORKS))
    for (name, _), rates in zip(kinds, best, strict=True):
        cells = [f"{f'{rate:.1f} ({rate / one:.2f})':>24}" for rate, one in zip(rates, best[0], strict=True)]
        print(f"{name:26}" + "".join(cells))
    print(f"load of the machine in the last minute: {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
