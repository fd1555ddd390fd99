"""The commands ``train-detector`` and ``study``."""

import argparse
from pathlib import Path

from trainer.cli.evaluate import Commands, add_folders
from trainer.errors import TargetError


def add_train_detector(commands: Commands) -> None:
    """The parser of ``train-detector``."""
    parser = commands.add_parser("train-detector", help="train the landmark detector, on WFLW or what is there")
    data = parser.add_mutually_exclusive_group()
    data.add_argument("--wflw", type=Path, metavar="DIR", help="the folder with WFLW_annotations and WFLW_images")
    data.add_argument("--datasets", nargs="+", default=[], metavar="NAME", help="prepared datasets (default: all)")
    parser.add_argument("--steps", type=int, help="training steps (default: 2600; WFLW is worth ten times as many)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="checkpoints (default: runs)")
    add_folders(parser)
    parser.set_defaults(run=run_train_detector)


def run_train_detector(options: argparse.Namespace) -> None:
    """Train and export the detector; a run that was broken off goes on."""
    from trainer.config import DetectorTraining
    from trainer.loops.detector_run import make_detector

    check_steps(options.steps)
    config = DetectorTraining() if options.steps is None else DetectorTraining(steps=options.steps)
    folders = (options.data_dir, options.runs_dir, options.models_dir)
    folder = make_detector(options.wflw, options.datasets, config, options.device, *folders)
    print(f"The detector is in {folder}. Serve with it: LANDMARKGAN_DETECTOR=hourglass make serve")


def check_steps(steps: int | None) -> None:
    """Raise TargetError where so many steps are no training."""
    if steps is not None and steps < 1:
        raise TargetError(f"--steps {steps}: a training has at least one step.")


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """What a training does otherwise than its preset says."""
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="FIELD=VALUE",
        help="fields of the recipe that are to be otherwise, such as generator.l2i_gan=0.09 (trainer/config.py)",
    )


def add_study(commands: Commands) -> None:
    """The parser of ``study``."""
    parser = commands.add_parser("study", help="ablations: whole trainings from scratch, one thing changed in each")
    parser.add_argument("--target", default="franck", help="whose generator is trained (default: franck)")
    parser.add_argument("--rows", nargs="+", default=[], metavar="NAME", help="some of the rows (default: all)")
    add_recipe(parser)
    parser.add_argument("--every", type=int, default=4, help="one validation frame in so many counts (default: 4)")
    parser.add_argument("--out", type=Path, default=Path("docs/study"), help="results (default: docs/study)")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="checkpoints (default: runs)")
    add_folders(parser)
    parser.set_defaults(run=run_study)


def run_study(options: argparse.Namespace) -> None:
    """Train and measure every row that was not measured yet."""
    from trainer.config import PRESETS, change_config
    from trainer.evaluation.study import StudyFolders, study

    config = change_config(PRESETS["default"], options.set)
    folders = StudyFolders(options.data_dir, options.models_dir, options.runs_dir, options.out)
    study(options.target, config, options.rows, options.every, folders)
