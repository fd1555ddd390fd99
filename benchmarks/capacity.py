"""``python -m benchmarks.capacity``: how long answers take under a load, measured and foretold, and what a load needs.

The service has one core for each of its workers, and the clients have what is left. First each kind of request is asked
for alone, one after another: these are its service times. The model is the queue M/G/k: arrivals at random moments
(Poisson), service times drawn from those that were measured, one queue, `k` workers. It is played through, not solved
(Kiefer and Wolfowitz 1955), so that it tells quantiles. Then the same load is sent, open loop: whoever is late does not
hold up who comes next. What the model says beside what was measured is the error. At last, the machines for so many
streams, from a frame's time on a core. Figures of GPUs are an estimate: no GPU was measured.
"""

import argparse
import asyncio
import heapq
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.ray_serve import TARGET, start
from benchmarks.stream import draw_frames, encode_frames
from shared.bundle import read_bundle

SHARES = {"synthesize": 0.5, "reenact": 0.2, "stream": 0.3}
"""Of the requests; those of `stream` are frames of streams that are open."""

ALONE, SOCKETS, SECONDS, PLAYED = 150, 8, 20.0, 200_000
LOADS = (0.3, 0.5, 0.7)
"""Of the workers' time that is busy."""

FRAMES_PER_SECOND, BUSY = 25, 0.7
"""Of a stream, and how busy a core may be on the whole."""

Times = NDArray[np.float64]
Ask = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Quantiles:
    """Of answer times, in milliseconds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float] | Times) -> "Quantiles":
        """Of times in seconds."""
        p50, p99 = 1000 * np.percentile(np.asarray(seconds), [50, 99])
        return cls(float(p50), float(p99))


def foretell(services: Mapping[str, Times], load: float, workers: int, seed: int = 0) -> tuple[float, Quantiles]:
    """Requests a second at which the workers are busy for the share `load` of their time, and how long answers take."""
    dice = np.random.default_rng(seed)
    mean = sum(SHARES[name] * float(times.mean()) for name, times in services.items())
    rate = load * workers / mean
    arrivals = np.cumsum(dice.exponential(1 / rate, PLAYED))
    kinds = dice.choice(len(SHARES), PLAYED, p=list(SHARES.values()))
    drawn = np.stack([dice.choice(services[name], PLAYED) for name in SHARES])[kinds, np.arange(PLAYED)]
    free = [0.0] * workers
    spent = np.empty(PLAYED)
    for number, (arrival, service) in enumerate(zip(arrivals.tolist(), drawn.tolist(), strict=True)):
        ended = max(heapq.heappop(free), arrival) + service
        heapq.heappush(free, ended)
        spent[number] = ended - arrival
    return rate, Quantiles.of(spent)


async def ask_alone(asks: Mapping[str, Ask]) -> dict[str, Times]:
    """Service times in seconds of each kind."""
    found = {}
    for name, ask in asks.items():
        for _ in range(20):  # caches, and the generator's first batches
            await ask()
        spent = []
        for _ in range(ALONE):
            started = time.perf_counter()
            await ask()
            spent.append(time.perf_counter() - started)
        found[name] = np.array(spent)
    return found


async def ask_openly(asks: Mapping[str, Ask], rate: float, seed: int) -> list[float]:
    """Seconds from each arrival to its answer, of a Poisson load of so many requests a second."""
    dice = np.random.default_rng(seed)
    spent: list[float] = []
    running: set[asyncio.Task[None]] = set()

    async def ask(name: str, due: float) -> None:
        await asks[name]()
        spent.append(time.perf_counter() - due)

    due, end = time.perf_counter(), time.perf_counter() + SECONDS
    while due < end:
        due += dice.exponential(1 / rate)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.create_task(ask(str(dice.choice(list(SHARES), p=list(SHARES.values()))), due))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    return spent


async def measure(address: str, workers: int) -> list[tuple[float, Quantiles, Quantiles]]:
    """Print and return, for each load, the requests a second, what was foretold and what was measured."""
    order = {"target": TARGET, "landmarks": read_bundle(Path("models") / TARGET).neutral}
    reference = (Path("models") / TARGET / "reference.jpg").read_bytes()
    frames = encode_frames(draw_frames(Path("models") / TARGET / "reference.jpg"))
    sockets: asyncio.Queue[ClientConnection] = asyncio.Queue()
    for _ in range(SOCKETS * workers):
        socket = await connect(f"{address.replace('http', 'ws')}/stream", compression=None, max_size=None)
        await socket.send(json.dumps({"target": TARGET}))
        await socket.recv()
        sockets.put_nowait(socket)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    async with httpx.AsyncClient(base_url=address, timeout=90, limits=limits) as client:

        async def synthesize() -> None:
            (await client.post("/synthesize", json=order)).raise_for_status()

        async def reenact() -> None:
            form = {"target": TARGET}
            (await client.post("/reenact", data=form, files={"image": reference})).raise_for_status()

        async def stream() -> None:
            socket = await sockets.get()
            await socket.send(frames[0])
            await socket.recv()
            sockets.put_nowait(socket)

        asks: dict[str, Ask] = {"synthesize": synthesize, "reenact": reenact, "stream": stream}
        services = await ask_alone(asks)
        for name, times in services.items():
            print(f"{name:12} {1000 * times.mean():6.1f} ms, spread {1000 * times.std():.1f}")
        rows = []
        for seed, load in enumerate(LOADS):
            rate, foretold = foretell(services, load, workers)
            found = Quantiles.of(await ask_openly(asks, rate, seed))
            errors = [100 * (one / other - 1) for one, other in ((foretold.p50, found.p50), (foretold.p99, found.p99))]
            print(
                f"{workers} workers, busy {load:.1f}, {rate:5.1f} a second: p50 {foretold.p50:5.0f} ms foretold, "
                f"{found.p50:5.0f} measured ({errors[0]:+.0f} %); p99 {foretold.p99:5.0f}, {found.p99:5.0f} "
                f"({errors[1]:+.0f} %)",
                flush=True,
            )
            rows.append((rate, foretold, found))
    plan(float(services["stream"].mean()))
    return rows


def plan(frame: float, core_price: float = 0.04, gpu_price: float = 1.0, gpu_cores: int = 40) -> None:
    """Print what streams need, from a frame's seconds on a core; prices are of an hour, in any currency."""
    streams = BUSY / (frame * FRAMES_PER_SECOND)
    for count in (10, 1_000, 100_000):
        cores = int(np.ceil(count / streams))
        gpus = int(np.ceil(cores / gpu_cores))
        print(
            f"{count:7} streams: {cores:7} cores, {cores * core_price:9.2f} an hour; or, an estimate, {gpus:5} GPUs "
            f"that each do the work of {gpu_cores} cores, {gpus * gpu_price:8.2f}"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure one worker, then two."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="how many, each on a core of its own")
    options = parser.parse_args(arguments)
    cores = sorted(os.sched_getaffinity(0))
    for workers in options.workers:
        os.sched_setaffinity(0, cores[:workers])  # what is started from here on inherits it
        with start(["service", "--workers", str(workers)]) as (address, _):
            os.sched_setaffinity(0, cores[workers:] or cores)
            asyncio.run(measure(address, workers))
        os.sched_setaffinity(0, cores)
    return 0


if __name__ == "__main__":
    sys.exit(main())
