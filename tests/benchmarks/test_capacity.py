"""The model of a loaded service against queues that are solved by hand, and the picture of its figures."""

from math import log
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import queueing
from benchmarks.capacity import plan
from benchmarks.capacity_chart import draw_chart
from benchmarks.cores import list_shares
from benchmarks.queueing import SHARES, Quantiles, Row, foretell


def test_service_times_at_random_with_one_worker_are_the_queue_mm1() -> None:
    """Answer times of M/M/1 are exponential: a mean of service / (1 - load)."""
    services = dict.fromkeys(SHARES, np.random.default_rng(3).exponential(0.02, 50_000))
    rate, found = foretell(services, load=0.5, workers=1)
    assert rate == pytest.approx(25, rel=0.02)
    assert found.p50 == pytest.approx(40 * log(2), rel=0.05)
    assert found.p99 == pytest.approx(40 * log(100), rel=0.08)


def test_hardly_any_load_is_answered_in_the_service_time() -> None:
    services = dict.fromkeys(SHARES, np.full(10, 0.02))
    rate, found = foretell(services, load=0.001, workers=2)
    assert rate == pytest.approx(0.1)
    assert found.p50 == pytest.approx(20)
    assert found.p99 == pytest.approx(20)


def test_two_workers_answer_twice_as_much_as_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queueing, "PLAYED", 100_000)
    services = {name: np.full(10, 0.01 * number) for number, name in enumerate(SHARES, 1)}
    one, two = (foretell(services, 0.5, workers) for workers in (1, 2))
    assert two[0] == pytest.approx(2 * one[0])
    assert two[1].p99 == pytest.approx(one[1].p99, rel=0.1)


def test_what_keeps_no_worker_busy_delays_alone() -> None:
    services = dict.fromkeys(SHARES, np.full(10, 0.02))
    (rate, found), (same, later) = (foretell(services, 0.5, 1, beside) for beside in (0.0, 0.005))
    assert rate == same
    assert later.p50 == pytest.approx(found.p50 + 5)


def test_machines_grow_with_the_streams(capsys: pytest.CaptureFixture[str]) -> None:
    plan(0.028, 0.021)  # a core draws one stream of 25 frames a second where it is busy for 0.7 of its time
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines] == ["10", "1000", "100000"]
    assert "19 GPUs and    250 cores" in lines[1]
    assert all("estimate" in line for line in lines)


def test_the_picture_has_a_line_and_dots_for_each() -> None:
    rows = [Row(n, load, 10, Quantiles(20, 80 * load), Quantiles(22, 90 * load)) for n in (1, 2) for load in (0.3, 0.7)]
    picture = ElementTree.fromstring(draw_chart(rows))
    named = [each.tag.rpartition("}")[2] for each in picture]
    assert named.count("circle") == 8
    assert "2 workers, p99" in [each.text for each in picture]


def test_cores_are_shared_as_threads_and_as_processes() -> None:
    assert list_shares([3, 5, 6], (1, 2, 4)) == [
        ("threads of 1 process: 1", [[3]]),
        ("threads of 1 process: 2", [[3, 5]]),
        ("processes of 1 thread: 2", [[3], [5]]),
    ]
