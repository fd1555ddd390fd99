"""Two real processes on one port: one service to whoever asks, with the jobs of one and the counts of both."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from test_process import ORDER, start, wait_until
from tiny_service import read_picture

from service.settings import Settings
from service.workers import choose_workers
from service.workers.relay import join_pages
from service.workers.supervisor import divide

FILM = {"target": "ada", "keyframes": [{"seconds": moment, "landmarks": ORDER["landmarks"]} for moment in (0, 0.4)]}


@pytest.fixture
def served(models: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Two workers."""
    process, address = start(models, "--workers", "2")
    try:
        wait_until(lambda: len(list_workers(address)) == 2)
        yield process, address
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def read_samples(address: str) -> list[tuple[str, dict[str, str], float]]:
    """Every sample of /metrics, with its labels."""
    page = httpx.get(f"{address}/metrics", timeout=30).raise_for_status().text
    families = text_string_to_metric_families(page)
    return [(each.name, each.labels, each.value) for family in families for each in family.samples]


def list_workers(address: str) -> set[str]:
    """The workers that serve targets."""
    return {labels["worker"] for name, labels, _ in read_samples(address) if name == "landmarkgan_target_info"}


def count_answers(address: str, route: str) -> Counter[str]:
    """How many requests of a route each worker has answered."""
    found: Counter[str] = Counter()
    for name, labels, value in read_samples(address):
        if name == "landmarkgan_requests_total" and labels["route"] == route:
            found[labels["worker"]] += int(value)
    return found


def list_children(pid: int) -> list[int]:
    """The workers' process ids."""
    found = []
    for child in (int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            found.append(child)
    return found


def test_jobs_and_counts_are_the_same_whichever_answers(served: tuple[subprocess.Popen[str], str]) -> None:
    process, address = served
    made = [httpx.post(f"{address}/animate", json=FILM, timeout=30) for _ in range(6)]  # a connection each
    assert {answer.status_code for answer in made} == {202}
    for answer in made:
        path = f"{address}{answer.headers['location']}"
        wait_until(lambda path=path: httpx.get(path).json()["state"] == "done")
        result = httpx.get(f"{path}/result")
        assert result.headers["content-type"] == "video/mp4"
        assert len(result.content) == int(result.headers["content-length"])
        assert result.headers["x-landmarkgan-consent"] == "none"
        assert httpx.delete(path).status_code == 204
        assert httpx.get(path).status_code == 404
    for _ in range(60):
        answer = httpx.post(f"{address}/synthesize", json=ORDER, timeout=30)
        assert read_picture(answer.content).shape == (32, 32, 3)
        if len(count_answers(address, "/synthesize")) == 2:
            break
    answered = count_answers(address, "/synthesize")
    assert set(answered) == {"0", "1"}, "both processes take requests"
    assert set(count_answers(address, "/animate")) == {"0"}
    page = httpx.get(f"{address}/jobs/none/result", headers={"host": "evil.example"})
    assert page.status_code == 403, "a request that is handed on is let in by the same rules"
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in log


def test_a_killed_worker_is_replaced_and_jobs_go_on(served: tuple[subprocess.Popen[str], str]) -> None:
    process, address = served
    location = httpx.post(f"{address}/animate", json=FILM, timeout=30).headers["location"]
    children = list_children(process.pid)
    assert len(children) == 2
    for child in children:
        os.kill(child, signal.SIGKILL)
        wait_until(lambda child=child: child not in list_children(process.pid) and len(list_workers(address)) == 2)
    wait_until(lambda: httpx.get(f"{address}{location}").json()["state"] == "done")


def test_the_end_waits_for_what_is_in_work(served: tuple[subprocess.Popen[str], str]) -> None:
    process, address = served
    answers: list[int] = []

    def ask() -> None:
        with suppress(httpx.TransportError), httpx.Client(timeout=30) as client:
            while True:  # until the port is closed; no request is answered by halves or by an error
                answers.append(client.post(f"{address}/synthesize", json=ORDER).status_code)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(answers) > 24)
    process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(60)
    assert set(answers) == {200}
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_start_that_fails_in_a_worker_fails(models: Path) -> None:
    process, _ = start(models, "--workers", "2", require_gpu="true", device="cuda")
    _, log = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "CUDA" in log


def test_one_process_loads_none_of_it() -> None:
    code = (
        "import sys, service.__main__; sys.exit('service.workers.supervisor' in sys.modules or 'httpx' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("wanted", "cores", "found"), [(3, 1, 3), ("auto", 1, 1), ("auto", 2, 1), ("auto", 16, 8)])
def test_auto_is_a_process_for_every_two_cores(wanted: int | Literal["auto"], cores: int, found: int) -> None:
    assert choose_workers(wanted, cores) == found


def test_workers_share_the_cores_unless_told_otherwise() -> None:
    settings = Settings(workers=2)
    assert divide(settings, 2).threads == max(1, settings.threads // 2)
    assert divide(Settings(workers=2, threads=5), 2).threads == 5


def test_pages_are_joined_with_their_workers_names() -> None:
    page = '# HELP a_total What.\n# TYPE a_total counter\na_total{b="c"} VALUE\n'
    text = join_pages({number: page.replace("VALUE", str(number + 1.0)) for number in (0, 1)}).decode()
    assert 'a_total{b="c",worker="0"} 1.0' in text
    assert 'a_total{b="c",worker="1"} 2.0' in text
    assert text.count("# TYPE") == 1
