"""One training shared by the workers of Ray Train: the function is that of ``make train``, as under torchrun."""

import argparse
from pathlib import Path
from typing import Any

from shared.ray_session import join_ray
from shared.store import Store
from trainer.cluster.stored_folders import FOLDERS, keep_alike
from trainer.errors import DistributedError
from trainer.loops.distributed import LONGEST_WAIT

MOST_FAILURES = 3


def train_on_ray(options: argparse.Namespace) -> None:
    """Train with `options.workers` processes. The folders are the same ones on every node, or those of `options.store`.

    A worker that is lost takes the others along; all begin again at the last checkpoint, at most `MOST_FAILURES` times.
    Raises DistributedError with the reason of the last failure, and StoreError where the store can't be reached.
    """
    given = make_absolute(options)
    if options.store:
        Store(options.store).list_files("models")  # what is wrong with it is said before anything is started
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
                **place_records(options.store, given["runs_dir"]),
                failure_config=FailureConfig(max_failures=MOST_FAILURES),
            ),
        )
        try:
            trainer.fit()
        except TrainingFailedError as error:
            raise DistributedError(f"The training broke off {MOST_FAILURES + 1} times. {error}") from error


def place_records(store: str | None, runs_dir: Path) -> dict[str, Any]:
    """Where Ray Train keeps what it knows of a run."""
    if store is None:
        return {"storage_path": str(runs_dir)}
    from fsspec.core import url_to_fs
    from pyarrow.fs import FSSpecHandler, PyFileSystem  # Ray Train brings pyarrow

    files, root = url_to_fs(store)
    return {"storage_path": f"{root}/runs/ray", "storage_filesystem": PyFileSystem(FSSpecHandler(files))}


def train_worker(given: dict[str, Any]) -> None:
    """What each worker does."""
    from trainer.cli.main import run_train

    store = given.pop("store")
    if store is None:
        run_train(argparse.Namespace(**given))
        return
    from ray.train import get_context

    with keep_alike(store, given["target"], writes=get_context().get_world_rank() == 0) as root:
        places = {f"{name}_dir": root / name for name in FOLDERS}
        run_train(argparse.Namespace(**given | places))


def make_absolute(options: argparse.Namespace) -> dict[str, Any]:
    """The options of ``train`` for a process that works in another folder."""
    from trainer.cli.main import split_paths

    given = {name: value for name, value in vars(options).items() if name not in ("run", "workers", "cpus", "address")}
    if options.video:
        given["video"] = [str(path.resolve()) for path in split_paths(options.video)]
    return {name: value.resolve() if isinstance(value, Path) else value for name, value in given.items()}
