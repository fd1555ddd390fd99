"""The commands ``train-detector`` and ``study``."""

import argparse
from pathlib import Path

from shared.bundle import read_bundle
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
    """What a training does otherwise than its preset says, and what its generator begins as."""
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="FIELD=VALUE",
        help="fields of the recipe that are to be otherwise, such as tl2f.l2i_gan=0.09 (docs/training.md has them)",
    )
    parser.add_argument(
        "--begin-from",
        metavar="BUNDLE",
        help="the bundle whose generator to begin with, anyone's (default: none; with --preset refine the target's)",
    )


def find_beginning(options: argparse.Namespace) -> str | None:
    """The bundle that the generator begins as. Raises BundleError where it is not whole."""
    bundle: str | None = options.begin_from or (options.target if options.preset == "refine" else None)
    if bundle is not None:
        read_bundle(options.models_dir / bundle)
    return bundle


def add_study(commands: Commands) -> None:
    """The parser of ``study``."""
    parser = commands.add_parser("study", help="short trainings side by side, one thing changed in each")
    parser.add_argument("study", choices=("designs", "terms", "departures"))
    parser.add_argument("--target", default="franck", help="whose generator is trained (default: franck)")
    parser.add_argument("--minutes", type=float, default=4.0, help="for each design (default: 4)")
    parser.add_argument("--steps", type=int, default=400, help="for each of the others (default: 400)")
    parser.add_argument("--preset", choices=("default", "refine"), default="default", help="what is changed in each")
    add_recipe(parser)
    parser.add_argument("--every", type=int, default=8, help="one test frame in so many is measured (default: 8)")
    parser.add_argument("--out", type=Path, default=Path("docs/study"), help="results (default: docs/study)")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="checkpoints (default: runs)")
    add_folders(parser)
    parser.set_defaults(run=run_study)


def run_study(options: argparse.Namespace) -> None:
    """Train and measure every variant that was not measured yet."""
    begin_from = find_beginning(options)
    from shared.detectors import load_detector
    from trainer.config import PRESETS, change_config
    from trainer.evaluation.face_analyzer import DETECTOR, LocalFaceAnalyzer
    from trainer.evaluation.recognition import FaceRecognizer
    from trainer.evaluation.study import open_bench, study_departures, study_designs, study_terms

    config = change_config(PRESETS[options.preset], options.set)
    eyes = LocalFaceAnalyzer(load_detector(DETECTOR, options.models_dir), FaceRecognizer())
    folders = (options.data_dir, options.models_dir, options.runs_dir)
    bench = open_bench(options.target, config, *folders, eyes, options.every, begin_from)
    runs = options.runs_dir / "study"
    if options.study == "designs":
        study_designs(bench, options.minutes, options.out, runs)
    else:
        study = study_terms if options.study == "terms" else study_departures
        study(bench, options.steps, options.out, runs)
