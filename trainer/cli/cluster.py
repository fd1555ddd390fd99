"""The commands ``train-ray`` and ``train-many``."""

import argparse
from collections.abc import Callable
from pathlib import Path

from trainer.cli.evaluate import Commands, add_folders
from trainer.cli.study import add_recipe


def add_workers(parser: argparse.ArgumentParser) -> None:
    """How many processes, on which cluster."""
    parser.add_argument("--workers", type=int, default=2, help="processes at once (default: 2)")
    parser.add_argument("--cpus", type=int, default=1, help="cores of each (default: 1)")
    parser.add_argument("--address", help="a Ray cluster that is there: auto, or HOST:PORT (default: one is started)")


def add_train_ray(commands: Commands, add_training: Callable[[argparse.ArgumentParser], None]) -> None:
    """The parser of ``train-ray``, which takes all that ``train`` takes."""
    parser = commands.add_parser("train-ray", help="train a target with several workers under Ray Train")
    add_training(parser)
    add_workers(parser)
    parser.add_argument(
        "--store", metavar="URL", help="where data, runs and models are instead of in folders: s3://bucket/faces"
    )
    parser.set_defaults(run=run_train_ray)


def run_train_ray(options: argparse.Namespace) -> None:
    """As `train`, shared by the workers; one that is lost begins again at the last checkpoint."""
    from trainer.cluster.ray_train import train_on_ray

    train_on_ray(options)


def add_train_many(commands: Commands) -> None:
    """The parser of ``train-many``."""
    parser = commands.add_parser("train-many", help="train many targets of a list, each by one worker of a cluster")
    parser.add_argument("manifest", type=Path, metavar="TARGETS.CSV", help="columns: target; video or photos; name, …")
    parser.add_argument("--quick", action="store_true", help="a minute of training each; bundles are TARGET-quick")
    parser.add_argument("--again", action="store_true", help="try those once more that failed")
    add_recipe(parser)
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="checkpoints, report (default: runs)")
    add_folders(parser)
    add_workers(parser)
    parser.set_defaults(run=run_train_many)


def run_train_many(options: argparse.Namespace) -> None:
    """Train what is not done yet, and tell of all."""
    from trainer.cluster.many import train_many

    print(train_many(options))
