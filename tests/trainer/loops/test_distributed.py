"""Trainings that several processes share: the same curve as one alone, equal on all, gone on with after a break."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from shared.bundle import read_bundle
from tests.trainer.tiny_training import assert_same, read_curves
from trainer.config import PRESETS, GeneratorTraining, TrainingConfig
from trainer.errors import DistributedError
from trainer.loops.distributed import SINGLE_PROCESS, DistributedContext
from trainer.loops.target import check_shares

REPOSITORY = Path(__file__).parents[3]

# What each process ends with is written down; a third argument breaks the run off in that step. Codes have no noise,
# which each process would draw for its own rows; D sees no wrong pairs, which are made among a process's own.
SCRIPT = """
import sys
from pathlib import Path

import pytest
import torch

from tests.trainer import tiny_training as tiny
from trainer.loops import converter, device, generator
from trainer.loops.distributed import join_distributed

folder = Path(sys.argv[1])
device.has_bfloat16 = lambda where: False
generator.LOG_STEPS = converter.LOG_STEPS = 1
generator.CheckpointClock = tiny.EveryOther
if len(sys.argv) > 2:
    tiny.break_at(pytest.MonkeyPatch(), generator.GeneratorLosses, "reconstruction", int(sys.argv[2]))
d = tiny.GENERATOR.discriminator.model_copy(update={"conditioned": False, "spectral_norm": False})
network = tiny.TEXTURES.model_copy(update={"code_noise": 0.0})
shape = {"batch": 4, "converted": 2, "steps": 4, "discriminator": d, "network": network}
config = tiny.JOINT.model_copy(update=shape)
losses, frames = tiny.make_losses(tiny.make_people()), tiny.make_frames()
with join_distributed() as context:
    model = converter.train_converter(losses, 3, folder / "converter", context)
    data = generator.GeneratorData("ada", frames, model, losses, tiny.make_detector())
    learned = generator.train_generator(data, config, 3, tiny.CPU, folder / "generator", context=context)
    print("done by", context.rank)
    state = {"theta": learned.theta.state_dict(), "model": model.state_dict()}
    torch.save(state, folder / f"rank{context.rank}.pt")
"""


@dataclass(frozen=True)
class Run:
    """What a run left."""

    folder: Path
    said: str

    def ended(self, rank: int) -> Mapping[str, Any]:
        state: Mapping[str, Any] = torch.load(self.folder / f"rank{rank}.pt", weights_only=True)
        return state

    def checkpoint(self) -> Mapping[str, Any]:
        saved: Mapping[str, Any] = torch.load(self.folder / "generator" / "generator.pt", weights_only=True)
        return saved


def start(folder: Path, processes: int, break_in: int | None = None, status: int = 0, source: str = SCRIPT) -> Run:
    folder.mkdir(exist_ok=True)
    script = folder / "script.py"
    script.write_text(source)
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *launcher, str(script), str(folder), *([str(break_in)] if break_in else [])]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == status, ended.stderr
    return Run(folder, ended.stdout)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return start(tmp_path_factory.mktemp("alone"), 1)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return start(tmp_path_factory.mktemp("together"), 2)


def test_every_process_ends_with_the_same_networks(together: Run) -> None:
    assert_same(together.ended(0), together.ended(1))
    assert_same(together.checkpoint()["averaged"], together.ended(0)["theta"])


@pytest.mark.parametrize("stage", ["converter", "generator"])
def test_two_processes_draw_the_curves_of_one(alone: Run, together: Run, stage: str) -> None:
    ours, theirs = read_curves(together.folder / stage), read_curves(alone.folder / stage)
    assert set(ours) == set(theirs)
    if stage == "generator":
        assert {"l2i", "gradient", "sharpness", "i2l", "d", "l2i_gan", "l2l", "x_l2l"} < set(ours)
    for name in set(ours) - {"samples_per_second"}:
        assert [step for step, _ in ours[name]] == [step for step, _ in theirs[name]], name
        values, wanted = ([value for _, value in curves[name]] for curves in (ours, theirs))
        # Within the hinge's margins the bias of D's logits has no gradient but rounding: Adam makes steps of it.
        slack = 1e-3 if name == "l2i_gan" else None
        assert values == pytest.approx(wanted, rel=1e-3, abs=slack), name


def test_the_first_process_alone_writes_and_speaks(together: Run) -> None:
    assert together.said == "done by 0\n"
    assert len(list((together.folder / "generator").glob("events.*"))) == 1
    assert [path.name for path in (together.folder / "generator" / "samples").iterdir()] == ["step_000004.jpg"]


def test_a_broken_run_goes_on_with_as_many_processes(together: Run, tmp_path: Path) -> None:
    broken = start(tmp_path, 2, break_in=4, status=1)
    assert broken.checkpoint()["step"] == 2
    resumed = start(tmp_path, 2)
    for rank in range(2):
        assert_same(together.ended(rank), resumed.ended(rank))
    states = [
        {name: value for name, value in run.checkpoint().items() if name != "seconds"} for run in (together, resumed)
    ]
    assert_same(*states)


FROM_DATA = """
import sys
from pathlib import Path

from tests.fixtures.acted import film_points, write_dataset
from tests.trainer import tiny_training as tiny
from trainer.config import TrainingConfig
from trainer.loops.distributed import join_distributed
from trainer.loops.target import train_target

folder = Path(sys.argv[1])
generator = tiny.GENERATOR.model_copy(update={"steps": 1, "i2l": 0.0})
config = TrainingConfig(converter=tiny.CONVERTER.model_copy(update={"steps": 1}), generator=generator)
with join_distributed() as processes:
    with processes.lead_first():
        if not (folder / "data").exists():
            print("prepared by", processes.rank)
            write_dataset(folder / "data", "ada", film_points(24))
    bundle = train_target("ada", config, "cpu", *(folder / name for name in ("data", "runs", "models")), processes)
    print("bundle:", bundle and bundle.name)
    (folder / f"rank{processes.rank}.txt").write_text(str(bundle))
"""


def test_the_first_process_prepares_and_exports_for_all(tmp_path: Path) -> None:
    run = start(tmp_path, 2, source=FROM_DATA)
    assert run.said.startswith("prepared by 0\n")
    assert run.said.endswith("bundle: ada\n")
    assert run.said.count("bundle:") == 1
    assert read_bundle(tmp_path / "models" / "ada").target == "ada"
    assert (tmp_path / "rank0.txt").read_text() == str(tmp_path / "models" / "ada")
    assert (tmp_path / "rank1.txt").read_text() == "None"


def test_shares_make_the_mean_of_means_the_mean_of_all() -> None:
    values = torch.tensor([1.0, 2.0, 3.0, 4.0, 10.0])
    processes = [DistributedContext(rank, 2) for rank in range(2)]
    parts = [values[each.rows] for each in processes]
    assert [part.tolist() for part in parts] == [[1, 3, 10], [2, 4]]
    assert [each.take(5) for each in processes] == [3, 2]
    assert [each.take(3) for each in processes] == [2, 1]
    means = [each.share(5) * part.mean() for each, part in zip(processes, parts, strict=True)]
    assert torch.stack(means).mean().item() == pytest.approx(4.0)
    assert (SINGLE_PROCESS.share(5), SINGLE_PROCESS.take(5), SINGLE_PROCESS.is_main) == (1.0, 5, True)


def change(**changes: int) -> TrainingConfig:
    return TrainingConfig(generator=GeneratorTraining(**changes))


@pytest.mark.parametrize(
    ("config", "count", "words"),
    [
        (PRESETS["paper"], 2, "2 processes can't share the generator's batch of 1 evenly. .* divides it: 1"),
        (PRESETS["default"], 3, "the converter's batch of 64 evenly. .* divides it: 1, 2, 4, 8, 16, 32, 64"),
        (change(converted=3), 2, "the converted landmarks of a step of 3"),
        (change(batch=3), 3, "the converter's batch of 64"),
    ],
)
def test_processes_that_can_not_share_a_batch_are_refused(config: TrainingConfig, count: int, words: str) -> None:
    check_shares(config, SINGLE_PROCESS)
    with pytest.raises(DistributedError, match=words):
        check_shares(config, DistributedContext(0, count))


def test_the_default_can_be_shared_by_two() -> None:
    check_shares(PRESETS["default"], DistributedContext(1, 2))
    check_shares(PRESETS["quick"], DistributedContext(1, 2))


def test_every_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert DistributedContext(1, 2, local_rank=1).place(cuda) == torch.device("cuda", 1)
    assert DistributedContext(1, 2, local_rank=1).place(cpu) == cpu
    assert SINGLE_PROCESS.place(cuda) == cuda
    with pytest.raises(DistributedError, match="3 processes were started, and there are 2 CUDA devices"):
        DistributedContext(2, 3, local_rank=2).place(cuda)
