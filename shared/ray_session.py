"""A Ray of this machine alone, begun and ended by us, or one that is there already."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

STORE_BYTES = 256 * 1024 * 1024
"""Of shared memory, for what processes hand one another."""


@contextmanager
def join_ray(address: str | None, variables: Mapping[str, str], cpus: int | None = None) -> Iterator[None]:
    """Connect to the cluster at `address`; without one, start a Ray whose processes have these variables besides.

    `cpus` is how many it may hand out, by default as many as the machine has. It tells nobody that it is used.
    """
    os.environ.update(variables)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when ray is imported
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what it will do anyway, without a warning
    import ray

    if address is None:
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, object_store_memory=STORE_BYTES)
    else:
        ray.init(address=address)
    try:
        yield
    finally:
        ray.shutdown()
