"""The queue M/G/k, played through: requests at random moments, measured service times, one queue, `k` workers."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHARES = {"synthesize": 0.5, "reenact": 0.2, "stream": 0.3}
"""Of the requests; those of `stream` are frames of streams that are open."""

PLAYED = 200_000
"""Requests, of which the first tenth fill the queue and do not count."""

Times = NDArray[np.float64]


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


@dataclass(frozen=True)
class Row:
    """One load: the share of the workers' time that is busy, and its requests a second."""

    workers: int
    load: float
    rate: float
    foretold: Quantiles
    found: Quantiles


def foretell(services: Mapping[str, Times], load: float, workers: int, seed: int = 0) -> tuple[float, Quantiles]:
    """Requests a second at which the workers are busy for the share `load` of their time, and how long answers take."""
    dice = np.random.default_rng(seed)
    mean = sum(share * float(services[name].mean()) for name, share in SHARES.items())
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
    return rate, Quantiles.of(spent[PLAYED // 10 :])
