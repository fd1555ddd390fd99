"""Trainings under Ray, by the commands that make runs: a worker killed in the middle, and a list of eight targets."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.bundle import BundleManifest, read_bundle
from tests.fixtures.acted import film_points, write_dataset
from trainer.cli.main import build_parser
from trainer.cluster.many import fingerprint, is_settled, list_common
from trainer.cluster.target_list import read_rows
from trainer.errors import ManifestError

REPOSITORY = Path(__file__).parents[3]
PAPER = '{"kind":"upscale","points":68,"hidden":8,"seed_channels":4,"block_channels":[4,4,4,4,4,4]}'
TINY = [  # the paper's network: it has no previews, each of which is an export
    *(f"generator.network={PAPER}", "generator.batch=2"),
    *("converter.steps=4", "converter.batch=4", "converter.network.hidden=8"),
]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def command(folder: Path, *words: str, steps: int) -> list[str]:
    """``python -m trainer`` with folders and a recipe of its own."""
    places = [word for name in ("data", "runs", "models") for word in (f"--{name}-dir", str(folder / name))]
    return ["-m", "trainer", *words, *places, "--quick", "--set", *TINY, f"generator.steps={steps}"]


def run(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def find_worker() -> set[int]:
    """Processes of Ray Train's workers, by the title that Ray gives them."""
    found = set()
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if (each / "cmdline").read_text(errors="replace").startswith("ray::RayTrainWorker"):
                found.add(int(each.name))
        except OSError:
            continue
    return found


def test_a_killed_worker_leaves_the_bundle_of_torchrun(tmp_path: Path) -> None:
    bundles: dict[str, BundleManifest] = {}
    for name in ("torchrun", "ray"):
        write_dataset(tmp_path / name / "data", "ada", film_points(24))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    run(*launcher, *command(tmp_path / "torchrun", "train", "--target", "ada", steps=60))
    others = find_worker()
    ray = command(tmp_path / "ray", "train-ray", "--target", "ada", "--workers", "2", steps=60)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *ray], cwd=REPOSITORY, env=ENVIRONMENT, stdout=log, stderr=log)
        end = time.monotonic() + 120
        while not list((tmp_path / "ray" / "runs").glob("ada-quick-*/events.*")):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < end, (tmp_path / "log").read_text()
            time.sleep(0.05)
        os.kill(min(find_worker() - others), signal.SIGKILL)
        assert process.wait(180) == 0, (tmp_path / "log").read_text()
    for name in ("torchrun", "ray"):
        bundles[name] = read_bundle(tmp_path / name / "models" / "ada-quick")
    events = list((tmp_path / "ray" / "runs").glob("ada-quick-*/events.*"))
    assert len(events) == 2  # it did begin twice
    ours, theirs = bundles["ray"], bundles["torchrun"]
    assert ours.run is not None
    assert ours.run.steps == 60
    assert (ours.tl2f.sha256, ours.converter.sha256) == (theirs.tl2f.sha256, theirs.converter.sha256)


def test_a_training_lives_in_a_store(tmp_path: Path) -> None:
    write_dataset(tmp_path / "store/data", "ada", film_points(24))
    ray = command(tmp_path / "here", "train-ray", "--target", "ada", "--workers", "1", steps=2)
    run(*ray, "--store", f"file://{tmp_path}/store")
    assert read_bundle(tmp_path / "store/models/ada-quick").run is not None
    assert list((tmp_path / "store/runs").glob("ada-quick-*/*.pt"))
    assert not (tmp_path / "here").exists()


def test_eight_targets_of_which_one_is_damaged(tmp_path: Path) -> None:
    names = [f"person{number}" for number in range(8)]
    for number, name in enumerate(names[:-1]):
        write_dataset(tmp_path / "data", name, film_points(24, phase=number))
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(b"no film " * 100)
    rows = [{"target": name, "video": str(damaged) if name == names[-1] else ""} for name in names]
    with (tmp_path / "targets.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["target", "video"])
        writer.writeheader()
        writer.writerows(rows)
    words = command(tmp_path, "train-many", str(tmp_path / "targets.csv"), "--workers", "2", steps=2)
    said = run(*words)
    assert "8 targets, 8 to be trained." in said
    assert "# 8 targets: 7 done, 1 failed" in said
    assert "damaged.mp4" in next(line for line in said.splitlines() if line.startswith("| person7 | failed"))
    assert said.strip().splitlines()[-1].startswith("| worst |")
    served = sorted(path.name for path in (tmp_path / "models").iterdir())
    assert served == [f"{name}-quick" for name in names[:-1]]
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("models/*/*")}
    again = run(*words)
    assert "8 targets, 0 to be trained." in again
    assert again.splitlines()[1:] == said[said.index("# 8") :].splitlines()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("models/*/*")} == written
    assert find_waiting(words) == []
    (tmp_path / "models" / "person0-quick" / "bundle.json").unlink()
    damaged.write_bytes(b"another film")
    assert find_waiting(words) == ["person0", "person7"]


def find_waiting(words: list[str]) -> list[str]:
    """The targets that the command would train."""
    options = build_parser().parse_args(words[2:])
    folders = {name: getattr(options, name) for name in ("data_dir", "runs_dir", "models_dir")}
    made_from = {
        row.target: fingerprint(row, list_common(options), options.data_dir) for row in read_rows(options.manifest)
    }
    return [target for target, given in made_from.items() if not is_settled(target, given, folders, options)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no target"),
        ("target,film\nada,a.mp4\n", r"line 2: 'film' can't be. The columns are: target, video, photos"),
        ("target\nada\nada\n", "line 3: 'ada' stands there twice"),
        ("target\nAda\n", "line 2: 'Ada' can't be a target's id"),
        ("target\nada,more\n", "line 2: 'more"),
    ],
)
def test_a_list_that_can_not_be_is_told_by_its_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ManifestError, match=words):
        read_rows(tmp_path / "list.csv")


def test_a_row_is_a_training(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("target,video,licence\nada,a b.mp4; c.mp4,mine\n")
    (row,) = read_rows(path)
    videos = [str(Path("a b.mp4").resolve()), str(Path("c.mp4").resolve())]
    assert row.to_arguments() == ["--target", "ada", "--video", *videos, "--licence", "mine"]
