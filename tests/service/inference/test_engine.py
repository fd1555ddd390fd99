"""The inference thread: batches, turns, limits, and work that nobody waits for any more."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from service.errors import NotReadyError, QueueFullError
from service.inference.engine import Engine, Step

pytestmark = pytest.mark.anyio


class Recorder:
    """A step's work that notes its batches; while `gate` is closed it stands still."""

    def __init__(self, name: str, log: list[tuple[str, list[int]]], gate: threading.Event) -> None:
        self.name, self.log, self.gate = name, log, gate

    def run(self, items: Sequence[int]) -> list[int]:
        self.log.append((self.name, list(items)))
        assert self.gate.wait(5)
        return [item * 10 for item in items]


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine(capacity=2)
    yield made
    made.close()


async def wait_until_running(log: list[tuple[str, list[int]]]) -> None:
    while not log:
        await asyncio.sleep(0.001)


async def test_what_waits_is_batched_and_lanes_take_turns(engine: Engine) -> None:
    log: list[tuple[str, list[int]]] = []
    gate = threading.Event()
    first = Step(Recorder("a", log, gate).run, batch=3)
    second = Step(Recorder("b", log, gate).run, batch=1)
    running = asyncio.ensure_future(engine.submit(first, 0))
    await wait_until_running(log)
    waiting = [asyncio.ensure_future(engine.submit(step, item)) for step in (first, second) for item in (1, 2, 3, 4)]
    await asyncio.sleep(0.01)
    gate.set()
    outcomes = await asyncio.gather(running, *waiting)
    assert [outcome.result for outcome in outcomes] == [0, 10, 20, 30, 40, 10, 20, 30, 40]
    assert log == [("a", [0]), ("a", [1, 2, 3]), ("b", [1]), ("a", [4]), ("b", [2]), ("b", [3]), ("b", [4])]
    assert outcomes[1].waited > 0


async def test_cancelled_work_never_runs(engine: Engine) -> None:
    log: list[tuple[str, list[int]]] = []
    gate = threading.Event()
    step = Step(Recorder("a", log, gate).run, batch=4)
    running = asyncio.ensure_future(engine.submit(step, 0))
    await wait_until_running(log)
    gone, staying = (asyncio.ensure_future(engine.submit(step, item)) for item in (1, 2))
    await asyncio.sleep(0.01)
    gone.cancel()
    await asyncio.sleep(0.01)
    gate.set()
    assert (await running).result == 0
    assert (await staying).result == 20
    assert log == [("a", [0]), ("a", [2])]


async def test_an_error_reaches_its_callers_and_the_thread_lives_on(engine: Engine) -> None:
    def fail(items: Sequence[int]) -> list[int]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await engine.submit(Step(fail, batch=1), 1)
    assert (await engine.submit(Step(lambda items: list(items), batch=1), 5)).result == 5


async def test_places_are_limited_and_given_back(engine: Engine) -> None:
    with engine.admit(), engine.admit(), pytest.raises(QueueFullError, match="2 of 2 places"), engine.admit():
        pass
    with engine.admit():
        assert engine.admitted == 1


async def test_closing_finishes_the_queue() -> None:
    engine = Engine(capacity=9)

    def slow(items: Sequence[int]) -> list[int]:
        time.sleep(0.01)
        return list(items)

    step = Step(slow, batch=1)
    jobs = [asyncio.ensure_future(engine.submit(step, item)) for item in range(5)]
    await asyncio.sleep(0)
    await asyncio.to_thread(engine.close)
    assert [outcome.result for outcome in await asyncio.gather(*jobs)] == list(range(5))
    with pytest.raises(NotReadyError):
        await engine.submit(step, 1)


async def test_two_threads_run_two_lanes_at_once_and_end_together() -> None:
    engine, log = Engine(capacity=9, threads=2), list[tuple[str, list[int]]]()
    gate = threading.Event()
    steps = [Step(Recorder(name, log, gate).run, batch=1) for name in "abc"]
    jobs = [asyncio.ensure_future(engine.submit(step, number)) for number, step in enumerate(steps)]
    while len(log) < 2:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    assert sorted(log) == [("a", [0]), ("b", [1])]
    gate.set()
    assert [outcome.result for outcome in await asyncio.gather(*jobs)] == [0, 10, 20]
    await asyncio.to_thread(engine.close)
    with pytest.raises(NotReadyError):
        await engine.submit(steps[0], 1)
