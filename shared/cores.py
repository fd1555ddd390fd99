"""How many CPU cores this process may use, which in a container is fewer than the machine has."""

import os
from pathlib import Path

CGROUPS, OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def count_cores() -> int:
    """Cores that the scheduler gives this process: its affinity, or less where a cgroup's quota is smaller. Over 0."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = read_quota(CGROUPS, OWN_CGROUP)
    return max(1, affinity if quota is None else min(affinity, int(quota)))


def read_quota(cgroups: Path, own: Path) -> float | None:
    """The smallest CPU quota, in cores, of this process's cgroup and those above it; None where there is none.

    Reads both versions: v2's ``cpu.max``, v1's ``cpu.cfs_quota_us``. Where the container sees its own cgroup as the
    root, as Docker has it, the path in `own` may name folders that do not exist here; the root then has the quota.
    """
    quotas: list[float] = []
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, read = cgroups, _read_v2
        elif "cpu" in controllers.split(","):
            root, read = cgroups / "cpu", _read_v1
        else:
            continue
        folder = root / path.lstrip("/")
        for each in (folder, *folder.parents):
            if not each.is_relative_to(root):
                break
            quota = read(each)
            quotas += [] if quota is None else [quota]
    return min(quotas, default=None)


def _read_v2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _read_v1(folder: Path) -> float | None:
    try:
        quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return quota / period if quota > 0 else None
    except (OSError, ValueError):
        return None
