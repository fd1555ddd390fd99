"""``python -m benchmarks.capacity``: how long answers take under a load, measured and foretold, and what a load needs.

The service has one core for each of its workers, and the clients have what is left. First each kind of request is
asked for alone, one after another: these are its service times, of which its CPU time keeps a worker busy and the rest
is the client's, unless the clients have no core of their own. The service tells the stages they are spent in. The
model is the queue M/G/1 of each worker: arrivals at random moments (Poisson), at a random worker, service times drawn
from those that were measured. It is played through, not solved (Lindley 1952), so that it tells quantiles. Then
the same load is sent, open loop: whoever is late does not hold up who comes next. What the model says beside what was
measured is the error. At last, the machines for so many streams, from the CPU time of a frame, which holds on a busy
machine too. Figures of GPUs are an estimate: no GPU was measured.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.capacity_chart import draw_chart
from benchmarks.checkouts import read_cpu
from benchmarks.queueing import SHARES, Quantiles, Row, Times, foretell
from benchmarks.ray_serve import TARGET, list_processes, start
from benchmarks.stream import draw_frames, encode_frames
from shared.bundle import read_bundle

ALONE, SOCKETS, SECONDS = 150, 8, 20.0
SHOWN = 0.00005
"""Seconds of a stage that is worth a word."""

LOADS = (0.3, 0.5, 0.7)
"""Of the workers' time that is busy."""

FRAMES_PER_SECOND, BUSY = 25, 0.7
"""Of a stream, and how busy a core may be on the whole."""

CORE_PRICE, GPU_PRICE, GPU_SPEED = 0.04, 1.0, 40.0
"""Assumed: prices of an hour in any currency, and how many cores' work on the networks a GPU does."""

SLIGHT = 1e-9

Ask = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Alone:
    """Service times of one kind of request, the stages of their mean, and its CPU time; all in seconds."""

    times: Times
    stages: dict[str, float]
    cpu: float

    @property
    def busy(self) -> float:
        """The share of the time that holds a core; the client has the rest, which holds up nobody else."""
        return min(1.0, self.cpu / float(self.times.mean()))

    @property
    def cpu_of_networks(self) -> float:
        """The share of the CPU time that the networks have of the stages."""
        networks = sum(self.stages.get(name, 0.0) for name in ("detect", "convert", "synthesize"))
        return self.cpu * networks / sum(part for name, part in self.stages.items() if name != "queue")


async def read_stages(client: httpx.AsyncClient) -> dict[str, float]:
    """Seconds that all requests so far spent in each stage, of all workers together."""
    page = (await client.get("/metrics")).raise_for_status().text
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == "landmarkgan_stage_seconds_sum":
                found[sample.labels["stage"]] = found.get(sample.labels["stage"], 0.0) + sample.value
    return found


async def ask_alone(client: httpx.AsyncClient, pid: int, asks: Mapping[str, Ask]) -> dict[str, Alone]:
    """Service times of each kind; they are printed, with their stages."""
    found = {}
    for name, ask in asks.items():
        for _ in range(20):  # caches, and the generator's first batches
            await ask()
        spent, before = [], await read_stages(client)
        used = sum(map(read_cpu, list_processes(pid)))
        for _ in range(ALONE):
            started = time.perf_counter()
            await ask()
            spent.append(time.perf_counter() - started)
        used = (sum(map(read_cpu, list_processes(pid))) - used) / ALONE
        stages = {
            stage: (seconds - before.get(stage, 0.0)) / ALONE for stage, seconds in (await read_stages(client)).items()
        }
        found[name] = alone = Alone(np.array(spent), stages, used)
        told = ", ".join(f"{stage} {1000 * part:.1f}" for stage, part in stages.items() if part >= SHOWN)
        mean, spread = 1000 * alone.times.mean(), 1000 * alone.times.std()
        print(f"{name:12} {mean:6.1f} ms, spread {spread:.1f}, CPU {1000 * used:.1f}: {told}")
    return found


async def ask_openly(asks: Mapping[str, Ask], rate: float, seed: int) -> tuple[list[float], int]:
    """Seconds from each arrival to its answer, of a Poisson load of so many requests a second; how many got none."""
    dice = np.random.default_rng(seed)
    spent: list[float] = []
    refused = 0
    running: set[asyncio.Task[None]] = set()

    async def ask(name: str, due: float) -> None:
        nonlocal refused
        try:
            await asks[name]()
        except httpx.HTTPStatusError:
            refused += 1
        else:
            spent.append(time.perf_counter() - due)

    due, end = time.perf_counter(), time.perf_counter() + SECONDS
    while due < end:
        due += dice.exponential(1 / rate)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.create_task(ask(str(dice.choice(list(SHARES), p=list(SHARES.values()))), due))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    return spent, refused


async def measure(address: str, pid: int, workers: int, spare: bool) -> list[Row]:
    """Print and return what was foretold and measured for each load; `spare`: the clients have a core of their own."""
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
        alone = await ask_alone(client, pid, asks)
        busy = {name: each.busy if spare else 1.0 for name, each in alone.items()}
        services = {name: each.times * busy[name] for name, each in alone.items()}
        beside = sum(SHARES[name] * float(each.times.mean()) * (1 - busy[name]) for name, each in alone.items())
        rows = []
        for seed, load in enumerate(LOADS):
            rate, foretold = foretell(services, load, workers, beside)
            spent, refused = await ask_openly(asks, rate, seed)
            found = Quantiles.of(spent)
            errors = [100 * (one / other - 1) for one, other in ((foretold.p50, found.p50), (foretold.p99, found.p99))]
            print(
                f"{workers} workers, busy {load:.1f}, {rate:5.1f} a second: p50 {foretold.p50:5.0f} ms foretold, "
                f"{found.p50:5.0f} measured ({errors[0]:+.0f} %); p99 {foretold.p99:5.0f}, {found.p99:5.0f} "
                f"({errors[1]:+.0f} %); {refused} of {refused + len(spent)} refused",
                flush=True,
            )
            rows.append(Row(workers, load, rate, foretold, found))
    plan(alone["stream"].cpu, alone["stream"].cpu_of_networks)
    return rows


def plan(frame: float, networks: float) -> None:
    """Print what streams need, from a frame's CPU seconds, and those of its networks among them.

    On machines with GPUs the networks run there, and what is left of a frame takes cores besides.
    """
    for streams in (10, 1_000, 100_000):
        frames = streams * FRAMES_PER_SECOND / BUSY
        cores, beside = ceil(frames * frame - SLIGHT), ceil(frames * (frame - networks) - SLIGHT)
        gpus = ceil(frames * networks / GPU_SPEED - SLIGHT)
        print(
            f"{streams:6} streams: {cores:6} cores, {cores * CORE_PRICE:8.2f} an hour; or, an estimate, {gpus:5} GPUs "
            f"and {beside:6} cores, {gpus * GPU_PRICE + beside * CORE_PRICE:8.2f}"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure one worker, then two."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="how many, each on a core of its own")
    parser.add_argument("--chart", type=Path, help="write the figures as a picture, an SVG file")
    options = parser.parse_args(arguments)
    cores = sorted(os.sched_getaffinity(0))
    rows: list[Row] = []
    for workers in options.workers:
        os.sched_setaffinity(0, cores[:workers])  # what is started from here on inherits it
        with start(["service", "--workers", str(workers)]) as (address, pid):
            os.sched_setaffinity(0, cores[workers:] or cores)
            rows += asyncio.run(measure(address, pid, workers, spare=len(cores) > workers))
        os.sched_setaffinity(0, cores)
    print(f"load of the machine in the last minute: {os.getloadavg()[0]:.1f}")
    if options.chart:
        options.chart.write_text(draw_chart(rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
