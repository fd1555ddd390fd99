"""The command line: ``python -m trainer data | train | train-detector | …``.

A command is one function that adds its parser and one that runs it. Errors that are the caller's to mend end with
status 2 and one paragraph on stderr; an interruption with 130.
"""

import argparse
import hashlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.bundle import hash_file
from shared.detectors import DETECTOR_NAMES, LandmarkDetector, load_detector
from shared.errors import LandmarkGANError
from shared.landmarks import IBUG70, SCHEMES
from trainer.cli.cluster import add_train_many, add_train_ray
from trainer.cli.evaluate import Commands, add_evaluate, add_figures, add_folders
from trainer.cli.study import add_recipe, add_study, add_train_detector, check_steps
from trainer.data.celebv import CELEBV_FOLDERS, LAYOUT, CelebVSource
from trainer.data.dataset import QUICK_SUFFIX, DatasetManifest, list_datasets, read_manifest
from trainer.data.prepare import About, PrepareOptions, find_prepared, prepare_dataset
from trainer.data.sample_media import PACKAGES, SAMPLES, SampleTarget, fetch_media
from trainer.data.sources import PhotoSource, Source, VideoSource
from trainer.data.wflw import WFLW
from trainer.errors import FetchError, TargetError

TARGET_PATTERN = r"[a-z0-9][a-z0-9_-]{0,57}"  # a bundle's id has 64 at most, and a quick run's ends in -quick
RESERVED = {name: f"models/{name} is the landmark detector" for name in DETECTOR_NAMES} | {
    WFLW.target: f"data/{WFLW.target} holds the faces of many people, for the detector",
}
QUICK_FRAMES = 1000  # that a quick run looks for faces in: about 45 seconds of it
CELEBV_LICENCE = "CelebV, for non-commercial research"


def main(arguments: Sequence[str] | None = None, program: str = "python -m trainer") -> int:
    """Run one command; its exit status."""
    options = build_parser(program).parse_args(arguments)
    try:
        options.run(options)
    except LandmarkGANError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def run_named(arguments: Sequence[str], program: str) -> int:
    """`landmarkgan NAME …`: the command of that name."""
    name, command = program.split()
    return main([command, *arguments], name)


def build_parser(program: str = "python -m trainer") -> argparse.ArgumentParser:
    """Every command and its options."""
    parser = argparse.ArgumentParser(prog=program, description="From a person's video to a served bundle.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_data(commands)
    _add_train(commands)
    add_train_ray(commands, add_training)
    add_train_many(commands)
    add_train_detector(commands)
    add_evaluate(commands)
    add_figures(commands)
    add_study(commands)
    return parser


def _add_preparing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", type=int, default=256, help="side of the face crops in pixels (default: 256)")
    parser.add_argument("--detector", choices=DETECTOR_NAMES, default="mesh", help="who finds the landmarks")


def _add_data(commands: Commands) -> None:
    parser = commands.add_parser("data", help="fetch the sample media, prepare their datasets")
    add_folders(parser)
    _add_preparing(parser)
    parser.set_defaults(run=run_data)


def run_data(options: argparse.Namespace) -> None:
    """Fetch all sample media, prepare every sample target; what is there already stays."""
    fetch_media(options.data_dir / "media", PACKAGES)
    for sample in SAMPLES.values():
        print(_prepare_sample(sample, options).describe())
    print(f"The sample media are in {options.data_dir / 'media'}, the datasets in {options.data_dir}.")


def _add_train(commands: Commands) -> None:
    parser = commands.add_parser("train", help="train a target from media or a prepared dataset")
    add_training(parser)
    parser.set_defaults(run=run_train)


def add_training(parser: argparse.ArgumentParser) -> None:
    """Whom a training is of, what from, and how."""
    parser.add_argument("--target", required=True, help="id of the target: a-z, 0-9, - and _")
    media = parser.add_mutually_exclusive_group()
    media.add_argument(
        "--video", nargs="+", metavar="PATH", help="video files of one person (spaces or commas between)"
    )
    media.add_argument("--photos", type=Path, metavar="DIR", help="a folder of photos of one person")
    media.add_argument(
        "--celebv", type=Path, metavar="DIR", help="CelebV's folder; targets: " + ", ".join(CELEBV_FOLDERS)
    )
    parser.add_argument("--name", help="the target's name for people (default: its id)")
    parser.add_argument("--licence", help="under what terms the media may be used (default: not stated)")
    parser.add_argument("--consent", help="id of the record in which the person agreed (default: not stated)")
    parser.add_argument("--one-person", action="store_true", help="the media show nobody else: keep every frame's face")
    parser.add_argument("--scheme", choices=sorted(SCHEMES), default="ibug70", help="landmark scheme (default: ibug70)")
    preset = parser.add_mutually_exclusive_group()
    preset.add_argument(
        "--preset",
        choices=("default", "quick", "photos", "paper"),
        help="sizes and schedule (default: photos for a few photos, else default)",
    )
    preset.add_argument(
        "--quick",
        dest="preset",
        action="store_const",
        const="quick",
        help="a minute of training, to see the whole way; the bundle's id is TARGET-quick",
    )
    parser.add_argument("--steps", type=int, help="training steps of the generator (default: the preset's)")
    add_recipe(parser)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="checkpoints and samples (default: runs)")
    add_folders(parser)
    _add_preparing(parser)


def run_train(options: argparse.Namespace) -> None:
    """Prepare the target's dataset where that is still to do, then train; under torchrun, with the other processes."""
    check_steps(options.steps)
    from trainer.config import PRESETS, change_config  # torch, which `data` need not wait for
    from trainer.loops.distributed import join_distributed

    steps = [] if options.steps is None else [f"generator.steps={options.steps}"]
    changes = [*options.set, *steps]
    change_config(PRESETS[options.preset or "default"], changes)  # what can't be is said before minutes of preparing
    with join_distributed() as context:
        with context.lead_first():
            manifest = prepare_target(options)
            print(manifest.describe())
            preset = options.preset or manifest.preset
            if preset not in ("quick", "photos") and manifest.scheme == IBUG70.name:
                prepare_companions(options)
        from trainer.loops.target import train_target

        bundle = train_target(
            options.target,
            change_config(PRESETS[preset], changes),
            options.device,
            data_dir=options.data_dir,
            runs_dir=options.runs_dir,
            models_dir=options.models_dir,
            context=context,
        )
        print(f"The bundle is in {bundle}. Serve it with: make serve")


def prepare_target(options: argparse.Namespace) -> DatasetManifest:
    """The dataset to train on, prepared from the media named, or found. Raises TargetError."""
    target: str = options.target
    if not re.fullmatch(TARGET_PATTERN, target) or target.endswith(QUICK_SUFFIX):
        raise TargetError(
            f"'{target}' can't be a target's id: use a-z, 0-9, - and _, at most 58, no sign in front, "
            f"and not {QUICK_SUFFIX} at the end, which marks the bundles of quick runs."
        )
    if target in RESERVED:
        raise TargetError(f"'{target}' can't be a target's id: {RESERVED[target]}. Choose another.")
    source = _open_source(options)
    if source is not None:
        about = About(
            target,
            options.name or (target.replace("-", " ").replace("_", " ").title()),
            options.licence or (CELEBV_LICENCE if options.celebv else "not stated"),
            options.consent or "not stated",
        )
        return _prepare(source, about, options)
    if target in list_datasets(options.data_dir):
        ready = read_manifest(options.data_dir / target)
        if ready.every == 1 or options.preset == "quick":
            return ready
        if target not in SAMPLES:
            raise TargetError(
                f"The dataset of '{target}' holds one frame in {ready.every}, for quick runs. Name its media again "
                "(VIDEO, PHOTOS or CELEBV), and the whole of it is prepared."
            )
    if target in SAMPLES and not SAMPLES[target].driver:
        return _prepare_sample(SAMPLES[target], options)
    raise TargetError(explain_missing(target, options.data_dir))


def prepare_companions(options: argparse.Namespace) -> None:
    """Have the sample targets at hand besides: the shared encoder learns from every identity there is (eq. 5).

    Where their media can't be fetched, the training goes on with the identities that are there.
    """
    ready = list_datasets(options.data_dir)
    for name, sample in SAMPLES.items():
        if sample.driver or (name in ready and read_manifest(options.data_dir / name).every == 1):
            continue
        try:
            print(_prepare_sample(sample, options).describe())
        except FetchError as error:
            print(f"The training goes on without '{name}' to learn from: {error}")


def explain_missing(target: str, data_dir: Path) -> str:
    """What is missing to train this target, where it goes, and which targets can be trained at once."""
    if target in CELEBV_FOLDERS:
        missing = (
            f"'{target}' is a target of CelebV, whose data are not here and can't be fetched by a program. Get CelebV "
            f"from its authors (ReenactGAN), keep its layout, {LAYOUT.replace('<person>', CELEBV_FOLDERS[target][0])}, "
            f"and run: make train TARGET={target} CELEBV=/path/to/CelebV."
        )
    else:
        missing = (
            f"There are no media of the target '{target}'. Name a video or a folder of photos of the person: "
            f"make train TARGET={target} VIDEO=clip.mp4, or PHOTOS=folder."
        )
    samples = [name for name, sample in SAMPLES.items() if not sample.driver]
    drivers = [name for name, sample in SAMPLES.items() if sample.driver]
    ready = [name for name in list_datasets(data_dir) if name not in samples and name not in drivers]
    at_once = ", ".join(samples) + " (sample media, fetched when needed)"
    if ready:
        at_once += "; " + ", ".join(ready) + " (prepared already)"
    return f"{missing} Targets that can be trained at once: {at_once}."


def _open_source(options: argparse.Namespace) -> Source | None:
    if options.video:
        return VideoSource(split_paths(options.video))
    if options.photos:
        return PhotoSource(options.photos)
    if options.celebv:
        if options.target not in CELEBV_FOLDERS:
            raise TargetError(f"CelebV has no target '{options.target}'; it has {', '.join(CELEBV_FOLDERS)}.")
        return CelebVSource(options.celebv, options.target)
    return None


def split_paths(values: Sequence[str]) -> list[Path]:
    """Paths parted by spaces or commas; a value that exists as it stands is one path, whatever is in its name."""
    paths: list[Path] = []
    for value in values:
        whole = Path(value)
        paths += [whole] if whole.exists() else [Path(piece) for piece in re.split(r"[,\s]+", value) if piece]
    return paths


def _prepare_sample(sample: SampleTarget, options: argparse.Namespace) -> DatasetManifest:
    media = options.data_dir / "media"
    fetch_media(media, [sample.package])
    about = About(sample.name, sample.display_name, sample.licence, sample.consent)
    return _prepare(VideoSource([media / name for name in sample.videos]), about, options, driver=sample.driver)


def _prepare(source: Source, about: About, options: argparse.Namespace, driver: bool = False) -> DatasetManifest:
    chosen = PrepareOptions(
        scheme=getattr(options, "scheme", "ibug70"),
        size=options.size,
        detector=options.detector,
        detector_version="" if source.scheme else hash_networks(options.models_dir / options.detector),
        person="any" if getattr(options, "one_person", False) else "dominant",
        split="test" if driver else "blocks",
    )

    sparse = max(1, round((source.expected or 0) / QUICK_FRAMES))
    whole_ready = find_prepared(source, about, chosen, options.data_dir) is not None
    if getattr(options, "preset", "default") == "quick" and not whole_ready:
        chosen = chosen.model_copy(update={"every": sparse})

    def open_detector(name: str) -> LandmarkDetector:
        return load_detector(name, options.models_dir)

    return prepare_dataset(source, about, chosen, open_detector, options.data_dir)


def hash_networks(folder: Path) -> str:
    """One hash of a detector's networks in the models' folder; empty where it keeps none there."""
    hashes = [hash_file(path) for path in sorted(folder.glob("*.onnx"))]
    return hashlib.sha256("".join(hashes).encode()).hexdigest() if hashes else ""
