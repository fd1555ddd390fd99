"""The queue M/G/1 of each worker, played through: requests at random moments, of measured service times."""

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


def foretell(
    services: Mapping[str, Times], load: float, workers: int, beside: float = 0.0, seed: int = 0
) -> tuple[float, Quantiles]:
    """Requests a second at which the workers are busy for the share `load` of their time, and how long answers take.

    An answer takes `beside` seconds more that no worker is busy with.
    """
    dice = np.random.default_rng(seed)
    mean = sum(share * float(services[name].mean()) for name, share in SHARES.items())
    rate = load * workers / mean
    arrivals = np.cumsum(dice.exponential(1 / rate, PLAYED))
    kinds = dice.choice(len(SHARES), PLAYED, p=list(SHARES.values()))
    drawn = np.stack([dice.choice(services[name], PLAYED) for name in SHARES])[kinds, np.arange(PLAYED)]
    takers = dice.integers(workers, size=PLAYED)  # a connection stays with its worker, whether that is free or not
    free = [0.0] * workers
    spent = np.empty(PLAYED)
    for number, (taker, arrival, service) in enumerate(
        zip(takers.tolist(), arrivals.tolist(), drawn.tolist(), strict=True)
    ):
        free[taker] = max(free[taker], arrival) + service
        spent[number] = free[taker] - arrival
    return rate, Quantiles.of(spent[PLAYED // 10 :] + beside)
