"""``python -m benchmarks.kills``: a service with video jobs in work, killed again and again (SIGKILL).

Half of the kills come the moment a job was seen done. After each kill every result that was seen finished must be on
disk as it was, and the process that read the video must be gone. After each start nothing broken off may lie about;
after the last, only records and results are left.
"""

import argparse
import hashlib
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.process_memory import list_children
from benchmarks.started_service import StartedService, start_service, wait_until_ready
from benchmarks.stream import draw_frames, write_clip
from service.media.job_folder import DELETED, RECORD, RESULT
from service.settings import Settings
from shared.detectors import LandmarkDetector

IN_WORK = 3  # jobs that wait or run, before each kill
MOST_KEPT = 20  # finished results that lie on disk; more are deleted, one after another
RESULT_SECONDS = 60.0  # within which a job must be done, where the kill waits for one
ENDED = ("done", "failed", "cancelled")
ORPHAN_SECONDS = 30.0


@dataclass
class Ledger:
    """What is known of the jobs from outside, and what was found wrong."""

    results: dict[str, str] = field(default_factory=dict)  # id -> sha256
    open: set[str] = field(default_factory=set)
    kills: int = 0
    finished: int = 0
    results_at_stake: int = 0  # finished results that lay there, summed over the kills
    given_up: int = 0
    wrong: list[str] = field(default_factory=list)


def kill_again_and_again(
    settings: Settings, detector: LandmarkDetector | None, target: str, clip: bytes, kills: int, span: float, seed: int
) -> Ledger:
    """Kill `kills` services in turn, each within `span` seconds of its being ready, then let the last one finish."""
    ledger, dice = Ledger(), random.Random(seed)
    while ledger.kills < kills:
        with start_service(settings, detector) as served, httpx.Client(base_url=served.address, timeout=120) as client:
            if dice.random() < 0.8:  # else while it loads
                wait_until_ready(client)
                check_start(settings.jobs_dir, ledger)
                end = time.monotonic() + dice.uniform(0, span)
                work_until(end, dice.random() < 0.5, client, ledger, target, clip, dice)
            else:
                time.sleep(dice.uniform(0, 0.3))
            kill(served, ledger)
        check_results(settings.jobs_dir, ledger)
    with start_service(settings, detector) as served, httpx.Client(base_url=served.address, timeout=120) as client:
        wait_until_ready(client)
        while ledger.open:
            look(client, ledger, settings.jobs_dir)
            time.sleep(0.05)
        check_results(settings.jobs_dir, ledger)
    check_end(settings.jobs_dir, ledger)
    return ledger


def work_until(
    end: float,
    for_result: bool,
    client: httpx.Client,
    ledger: Ledger,
    target: str,
    clip: bytes,
    dice: random.Random,
) -> None:
    """Give it jobs, look at them, and now and then delete one; until `end`, or until one more is done."""
    before, latest = ledger.finished, time.monotonic() + RESULT_SECONDS
    while ledger.finished == before and time.monotonic() < latest if for_result else time.monotonic() < end:
        if len(ledger.open) < IN_WORK:
            files = {"video": ("clip.mp4", clip)}
            options = {"target": target, "layout": dice.choice(["face", "paste-back", "side-by-side"])}
            ledger.open.add(client.post("/reenact/video", files=files, data=options).raise_for_status().json()["id"])
        look(client, ledger, None)
        if len(ledger.results) > MOST_KEPT or (ledger.results and dice.random() < 0.005):
            gone = dice.choice(sorted(ledger.results))
            del ledger.results[gone]
            client.delete(f"/jobs/{gone}").raise_for_status()
        time.sleep(0.02)


def look(client: httpx.Client, ledger: Ledger, folder: Path | None) -> None:
    """Ask how the open jobs are; a finished one's video is fetched, and from then on must stay."""
    for job_id in sorted(ledger.open):
        answer = client.get(f"/jobs/{job_id}")
        state = answer.json().get("state", f"unknown ({answer.status_code})")
        if state == "done":
            result = client.get(f"/jobs/{job_id}/result").raise_for_status()
            ledger.results[job_id] = hashlib.sha256(result.content).hexdigest()
            ledger.finished += 1
        elif state == "failed" and "is not tried again" in answer.json()["error"]:
            ledger.given_up += 1  # it ran in three services that were killed
        elif state not in ("waiting", "running"):
            ledger.wrong.append(f"a job is {state}: {answer.json().get('error')}")
        if state not in ("waiting", "running"):
            ledger.open.discard(job_id)


def kill(served: StartedService, ledger: Ledger) -> None:
    """SIGKILL; what it started must go with it."""
    children = list_children(served.pid)
    served.process.kill()
    served.process.join()
    ledger.kills += 1
    ledger.results_at_stake += len(ledger.results)
    end = time.monotonic() + ORPHAN_SECONDS
    while any(is_alive(child) for child in children):
        if time.monotonic() > end:
            ledger.wrong.append("a process outlived its service")
            return
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False


def check_results(jobs: Path, ledger: Ledger) -> None:
    """Every finished result is as it was."""
    for job_id, digest in ledger.results.items():
        path = jobs / job_id / RESULT
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            ledger.wrong.append("a finished result was lost")


def check_start(jobs: Path, ledger: Ledger) -> None:
    """Nothing of a broken-off upload or deletion is left, once a service is ready."""
    for folder in jobs.iterdir():
        if folder.is_dir() and (folder.name.endswith(DELETED) or not (folder / RECORD).is_file()):
            ledger.wrong.append(f"left over: {sorted(each.name for each in folder.iterdir())}")


def check_end(jobs: Path, ledger: Ledger) -> None:
    """Once every job has ended, there are records and results, and no more."""
    for path in jobs.glob("*/*"):
        if path.name not in (RECORD, RESULT):
            ledger.wrong.append(f"left over: {path.name}")


def main() -> int:
    """Kill and report. Returns the exit status: 1 where anything was lost or left over."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of bundles (default: models)")
    parser.add_argument("--target", default="franck", help="target to play (default: franck)")
    parser.add_argument("--kills", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--span", type=float, default=2.0, help="each within so many seconds (default: 2)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    models = options.models.resolve()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        write_clip(clip, draw_frames(models / options.target / "reference.jpg"), 10)
        settings = Settings(models_dir=models, jobs_dir=Path(folder) / "jobs", log_level="error")
        ledger = kill_again_and_again(
            settings, None, options.target, clip.read_bytes(), options.kills, options.span, options.seed
        )
    print(f"{ledger.kills} kills in {time.monotonic() - started:.0f} s; {ledger.given_up} jobs given up")
    print(
        f"{ledger.finished} jobs were seen done; {ledger.results_at_stake / ledger.kills:.1f} results a kill at stake"
    )
    for what in sorted(set(ledger.wrong)):
        print(f"{ledger.wrong.count(what)} x {what}")
    return int(bool(ledger.wrong))


if __name__ == "__main__":
    sys.exit(main())
