"""Two replicas under Ray Serve: the same answers as plain uvicorn's, jobs, streams, new bundles, and lost processes."""

import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from ray_service import RayService, start_ray_service, wait_for_job
from running_service import run_service
from tiny_service import read_picture, to_bytes, write_bundle
from websockets.sync.client import connect

from service.api.stream_messages import unpack_answer
from service.settings import Settings
from shared.bundle import read_bundle

MODELS = Path(__file__).parents[3] / "models"
REFERENCE = (MODELS / "franck" / "reference.jpg").read_bytes()
NEUTRAL = read_bundle(MODELS / "franck").neutral
QUEUE, STREAMS = 4, 2
PICTURE = {"image": ("face.jpg", REFERENCE)}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in ("franck", "mesh"):
        shutil.copytree(MODELS / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def cluster(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayService]:
    folder = tmp_path_factory.mktemp("ray")
    settings = {"models_dir": models, "jobs_dir": folder / "jobs", "queue_size": QUEUE, "max_streams": STREAMS}
    settings |= {"default_target": "franck", "deadline_seconds": 60, "max_batch": 1}
    with start_ray_service(folder / "log.txt", 2, settings) as started:
        yield started


@pytest.fixture
def client(cluster: RayService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=cluster.address, timeout=90) as opened:
        yield opened


def synthesize(client: httpx.Client) -> httpx.Response:
    return client.post("/synthesize", json={"landmarks": NEUTRAL, "format": "png"})


def test_the_answers_are_those_of_plain_uvicorn(client: httpx.Client, models: Path) -> None:
    with (
        run_service(Settings(models_dir=models, default_target="franck", threads=1)) as alone,
        httpx.Client(base_url=f"http://{alone.address}", timeout=90) as plain,
    ):
        for ask in (synthesize, lambda one: one.post("/reenact", files=PICTURE), lambda one: one.get("/targets")):
            ours, theirs = ask(client), ask(plain)
            assert (ours.status_code, ours.content) == (200, theirs.content)
            assert ours.headers.get("etag") == theirs.headers.get("etag")
        assert client.get("/").content == plain.get("/").content
        refused = [one.post("/synthesize", json={"landmarks": []}) for one in (client, plain)]
        assert refused[0].status_code == 422
        assert refused[0].json() == refused[1].json()


def test_what_a_replica_can_not_tell_is_refused_in_words(client: httpx.Client) -> None:
    answer = client.get("/metrics")
    assert answer.status_code == 501
    assert "Ray's own metrics" in answer.json()["expected"]


def test_more_than_may_wait_are_told_to_come_again(cluster: RayService) -> None:
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(httpx.post(f"{cluster.address}/reenact", files=PICTURE, timeout=90))

    threads = [threading.Thread(target=ask) for _ in range(6 * (QUEUE + STREAMS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = Counter(answer.status_code for answer in answers)
    assert set(told) == {200, 503}
    refused = [answer for answer in answers if answer.status_code == 503]
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert {answer.json()["type"] for answer in refused} == {"urn:landmarkgan:problem:busy"}


def test_a_stream_is_one_replicas(cluster: RayService) -> None:
    frame = Image.new("RGB", (400, 400), (120, 120, 120))
    with Image.open(MODELS / "franck" / "reference.jpg") as face:
        frame.paste(face, (72, 72))
    with connect(f"{cluster.address.replace('http', 'ws')}/stream") as socket:
        socket.send("{}")
        assert json.loads(socket.recv(timeout=30))["target"] == "franck"
        for number in (1, 2, 3):
            socket.send(to_bytes(frame, "JPEG"))
            header, picture = unpack_answer(socket.recv(timeout=30))
            assert (header["frame"], header["state"]) == (number, "face")
            assert read_picture(picture).shape == (256, 256, 3)


def test_new_bundles_are_served_by_every_replica(client: httpx.Client, models: Path) -> None:
    write_bundle(models, "ada")
    known, end = 0, time.monotonic() + 30
    while known < 12:  # in a row: no replica is behind
        assert time.monotonic() < end
        names = {target["id"] for target in client.get("/targets").json()["targets"]}
        known = known + 1 if names == {"ada", "franck"} else 0


def test_lost_replicas_lose_nothing_that_was_accepted(cluster: RayService, client: httpx.Client) -> None:
    """One of the two is killed under load, and the keeper of the jobs in the middle of a film."""
    keyframes = [{"seconds": second, "landmarks": NEUTRAL} for second in (0, 6)]
    job = client.post("/animate", json={"keyframes": keyframes}).raise_for_status().headers["location"]
    wait_for_job(client, job, "running")
    before = {name: cluster.find_replicas(name) for name in ("Faces", "Jobs")}
    assert [len(pids) for pids in before.values()] == [2, 1]
    answers: list[tuple[int, bytes]] = []
    ended = threading.Event()

    def load() -> None:
        with httpx.Client(base_url=cluster.address, timeout=90) as one:
            while not ended.is_set():
                answer = synthesize(one)
                answers.append((answer.status_code, answer.content))

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.5)
        killed = {cluster.kill_replica("Faces"), cluster.kill_replica("Jobs")}
        end = time.monotonic() + 90
        while [len(cluster.find_replicas(name) - killed) for name in before] != [2, 1]:
            assert time.monotonic() < end
            time.sleep(0.2)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert len(answers) > 10
    assert set(answers) == {(200, synthesize(client).content)}
    done = wait_for_job(client, job, "done", "failed")
    assert done["state"] == "done", done
    video = client.get(str(done["result"]))
    assert video.status_code == 200
    part = client.get(str(done["result"]), headers={"Range": "bytes=4-11"})
    assert (part.status_code, part.content) == (206, video.content[4:12])
    assert np.isclose(float(str(done["frames"])), 6 * 25, atol=1)
