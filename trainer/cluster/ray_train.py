"""One training shared by the workers of Ray Train: the function is that of ``make train``, as under torchrun."""

import argparse
from pathlib import Path
from typing import Any

from shared.ray_session import join_ray
from trainer.errors import DistributedError
from trainer.loops.distributed import LONGEST_WAIT

MOST_FAILURES = 3


def train_on_ray(options: argparse.Namespace) -> None:
    """Train with `options.workers` processes. The folders must be the same ones on every node.

    A worker that is lost takes the others along; all begin again at the last checkpoint, at most `MOST_FAILURES` times.
    Raises DistributedError with the reason of the last failure.
    """
    given = make_absolute(options)
    with join_ray(options.address, {}, options.workers * options.cpus):
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer
        from ray.train.v2.api.exceptions import TrainingFailedError

        gpu = options.device == "cuda"
        trainer = TorchTrainer(
            train_worker,
            train_loop_config=given,
            torch_config=TorchConfig(
                backend="cpu:gloo,cuda:nccl" if gpu else "gloo", timeout_s=int(LONGEST_WAIT.total_seconds())
            ),
            scaling_config=ScalingConfig(
                num_workers=options.workers, use_gpu=gpu, resources_per_worker={"CPU": options.cpus}
            ),
            run_config=RunConfig(
                name=f"{options.target}-ray",
                storage_path=str(given["runs_dir"]),
                failure_config=FailureConfig(max_failures=MOST_FAILURES),
            ),
        )
        try:
            trainer.fit()
        except TrainingFailedError as error:
            raise DistributedError(f"The training broke off {MOST_FAILURES + 1} times. {error}") from error


def train_worker(given: dict[str, Any]) -> None:
    """What each worker does."""
    from trainer.cli.main import run_train

    run_train(argparse.Namespace(**given))


def make_absolute(options: argparse.Namespace) -> dict[str, Any]:
    """The options of ``train`` for a process that works in another folder."""
    from trainer.cli.main import split_paths

    given = {name: value for name, value in vars(options).items() if name not in ("run", "workers", "cpus", "address")}
    if options.video:
        given["video"] = [str(path.resolve()) for path in split_paths(options.video)]
    return {name: value.resolve() if isinstance(value, Path) else value for name, value in given.items()}
