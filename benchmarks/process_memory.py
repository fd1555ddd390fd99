"""What a process and its children take, as Linux tells it."""

import threading
from pathlib import Path


class MemoryWatch:
    """Peak memory of a process and all that it started, together, in MiB, looked at all the while."""

    def __init__(self, pid: int, pause: float = 0.02) -> None:
        self.pid, self.pause = pid, pause
        self.peak = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> float:
        """Look no longer. Returns the peak."""
        self._ended.set()
        self._thread.join()
        return self.peak

    def _watch(self) -> None:
        while not self._ended.wait(self.pause):
            self.peak = max(self.peak, sum(read_memory(pid) for pid in [self.pid, *list_children(self.pid)]))


def list_children(pid: int) -> list[int]:
    """The processes that a process started, and those that they started."""
    found = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(each) for each in tasks.read_text().split()]
        except OSError:  # gone meanwhile
            continue
    return found + [each for child in found for each in list_children(child)]


def read_memory(pid: int) -> float:
    """Resident memory in MiB; 0 of a process that is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    return int(status.split("VmRSS:")[1].split()[0]) / 1024 if "VmRSS:" in status else 0.0
