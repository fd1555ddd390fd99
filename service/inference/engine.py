"""The inference threads and their queue.

Networks of many small steps leave a second core idle for the most part, so two threads run two of them at once: a
stream's next face is found while the last one is drawn. Work waits in lanes, one for each kind (detection; each
target's synthesis), and the threads go round the lanes: an editor's /synthesize waits behind at most one detection
however many pictures were uploaded before it, and no lane starves. From a lane a thread takes what is waiting, up to
the kind's batch, and never waits to fill one.
"""

import asyncio
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from service.errors import NotReadyError, QueueFullError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Step(Generic[Item, Result]):
    """A kind of work: `run` turns at most `batch` items into as many results, in order. Equal ones share a lane."""

    run: Callable[[Sequence[Item]], Sequence[Result]]
    batch: int


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """A result, with how long the work waited and ran, in seconds."""

    result: Result
    waited: float
    ran: float


@dataclass(frozen=True)
class _Job:
    item: Any
    future: "Future[Outcome[Any]]" = field(default_factory=Future)
    submitted: float = field(default_factory=time.perf_counter)


class Engine:
    """Holds the threads. `capacity` bounds the requests that `admit` lets in at once, waiting or in work."""

    def __init__(self, capacity: int, threads: int = 1) -> None:
        self.capacity = capacity
        self.admitted = 0
        self.batch_sizes: Counter[int] = Counter()  # size -> batches run so far
        self._lanes: OrderedDict[Step[Any, Any], deque[_Job]] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"inference-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @contextmanager
    def admit(self, places: int = 1) -> Iterator[None]:
        """A place for each face of a request, from before its picture is decoded until its answer is encoded.

        Call it on the event loop. Raises QueueFullError where so many are not free.
        """
        if self.admitted + places > self.capacity:
            raise QueueFullError(f"{self.admitted} of {self.capacity} places are taken; try again in a moment.")
        self.admitted += places
        try:
            yield
        finally:
            self.admitted -= places

    async def submit(self, step: Step[Item, Result], item: Item) -> Outcome[Result]:
        """Run one item. A caller that is cancelled meanwhile (deadline, client gone) takes its work along, unrun.

        Raises NotReadyError after `close`, and whatever the step raises.
        """
        job = _Job(item)
        with self._changed:
            if self._closed:
                raise NotReadyError("The service is shutting down.")
            self._lanes.setdefault(step, deque()).append(job)
            self._changed.notify()
        return await asyncio.wrap_future(job.future)

    def close(self) -> None:
        """Finish what is waiting, then end the threads. Blocks until they have."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            step, jobs = taken
            jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]
            if jobs:
                with self._changed:
                    self.batch_sizes[len(jobs)] += 1
                _run_batch(step, jobs)

    def _take(self) -> tuple[Step[Any, Any], list[_Job]] | None:
        with self._changed:
            while not self._lanes:
                if self._closed:
                    return None
                self._changed.wait()
            step, lane = self._lanes.popitem(last=False)
            jobs = [lane.popleft() for _ in range(min(step.batch, len(lane)))]
            if lane:
                self._lanes[step] = lane  # behind the other lanes
            return step, jobs


def _run_batch(step: Step[Any, Any], jobs: list[_Job]) -> None:
    started = time.perf_counter()
    try:
        results = step.run([job.item for job in jobs])
    except Exception as error:
        for job in jobs:
            job.future.set_exception(error)
        return
    ran = time.perf_counter() - started
    for job, result in zip(jobs, results, strict=True):
        job.future.set_result(Outcome(result, started - job.submitted, ran))
