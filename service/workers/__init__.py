"""Several processes that serve as one, on one machine: `service.workers.supervisor` starts them."""

from typing import Literal

CORES_PER_WORKER = 2
"""A process finds one face while it draws another, on two threads; docs/scale.md has what is measured of it."""


def choose_workers(wanted: int | Literal["auto"], cores: int) -> int:
    """How many processes: as many as are wanted, or, with `auto`, as the cores feed."""
    return max(1, cores // CORES_PER_WORKER) if wanted == "auto" else wanted
