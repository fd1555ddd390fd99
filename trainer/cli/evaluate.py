"""The commands ``evaluate`` and ``figures``."""

import argparse
from pathlib import Path
from typing import TypeAlias

from trainer.errors import ScoredFolderError

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Where datasets and bundles are."""
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="datasets and media (default: data)")
    parser.add_argument("--models-dir", type=Path, default=Path("models"), help="bundles, detector (default: models)")


def add_evaluate(commands: Commands) -> None:
    """The parser of ``evaluate``."""
    parser = commands.add_parser("evaluate", help="measure the bundles on held-out frames, over HTTP")
    add_folders(parser)
    parser.add_argument(
        "--every", type=int, metavar="N", help="take one test frame in N, 1 for all (default: 120 of a driver at most)"
    )
    parser.add_argument("--record", action="store_true", help="write the figures into manifests, model cards and docs")
    parser.add_argument(
        "--report", type=Path, default=Path("runs/evaluation"), metavar="DIR", help="figures.json, report.html go there"
    )
    parser.add_argument(
        "--previous", type=Path, metavar="DIR", help="a checkout of an earlier revision, to compare with"
    )
    parser.add_argument(
        "--score", nargs="+", default=[], metavar="NAME=DIR", help="folders of pictures that other programs made"
    )
    parser.add_argument(
        "--write-drivers", type=Path, metavar="DIR", help="write what --score's pictures are made of, end"
    )
    parser.add_argument(
        "--clips", type=Path, metavar="DIR", help="measure on the videos of this folder alone, as video jobs serve them"
    )
    parser.set_defaults(run=run_evaluate)


def run_evaluate(options: argparse.Namespace) -> None:
    """Measure every bundle whose dataset is prepared, or write the drivers for other programs."""
    from trainer.evaluation.driving_pictures import write_drivers
    from trainer.evaluation.evaluate import evaluate, gather_material
    from trainer.evaluation.face_analyzer import open_face_analyzer
    from trainer.evaluation.publish import check_documents, record
    from trainer.evaluation.report import format_report, write_report
    from trainer.evaluation.sample_sheets import draw_sheets

    if options.clips is not None:
        measure_clips(options.clips, options.models_dir, options.report)
        return
    if options.write_drivers is not None:
        with open_face_analyzer(options.models_dir) as eyes:
            material = gather_material(options.data_dir, options.models_dir, options.every, eyes)
        count = write_drivers(material, options.write_drivers)
        print(f"{options.write_drivers / 'index.json'} names {count} pictures to make.")
        return
    scored = split_scored(options.score)
    if options.record:
        check_documents(Path())
    evaluation, material, shown = evaluate(
        options.data_dir, options.models_dir, options.every, options.previous, scored
    )
    print(format_report(evaluation))
    sheets = draw_sheets(list(evaluation.bundles), options.data_dir, options.models_dir)
    report = write_report(evaluation, material, shown, sheets, options.report)
    print(f"\nThe report is in {report}.")
    if options.record:
        for path in record(evaluation, options.models_dir, Path()):
            print(f"Figures written: {path}")


def measure_clips(folder: Path, models_dir: Path, report: Path) -> None:
    """Print what a folder of clips comes out at, and write it as clips.json."""
    from trainer.evaluation.driving_clips import build_clip_tables, evaluate_clips
    from trainer.evaluation.report import write_text
    from trainer.evaluation.tables import format_text

    evaluation = evaluate_clips(folder, models_dir)
    print("\n\n".join(format_text(table) for table in build_clip_tables(evaluation)))
    report.mkdir(parents=True, exist_ok=True)
    write_text(report / "clips.json", evaluation.model_dump_json(indent=2) + "\n")


def split_scored(values: list[str]) -> dict[str, Path]:
    """NAME=DIR -> name and folder. Raises ScoredFolderError for anything else, and for a name taken."""
    from trainer.evaluation.evaluate import LABELS

    scored = {}
    for value in values:
        name, equals, folder = value.partition("=")
        if not name or not equals or not folder:
            raise ScoredFolderError(f"'{value}' is not of the form NAME=DIR, as in --score other=pictures/other.")
        if name in LABELS or name in scored:
            raise ScoredFolderError(f"The name '{name}' is taken; give the pictures in {folder} another.")
        scored[name] = Path(folder)
    return scored


def add_figures(commands: Commands) -> None:
    """The parser of ``figures``."""
    parser = commands.add_parser("figures", help="draw the pictures of README and docs from the bundles")
    parser.add_argument("--targets", nargs="+", default=["franck", "cap"], metavar="TARGET", help="default: franck cap")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), metavar="DIR", help="default: docs/images")
    add_folders(parser)
    parser.set_defaults(run=run_figures)


def run_figures(options: argparse.Namespace) -> None:
    """Draw the sheets, and the film of the targets that drive one another."""
    from trainer.evaluation.sample_sheets import draw_film, draw_sheets, save_film, save_sheets

    save_sheets(draw_sheets(options.targets, options.data_dir, options.models_dir), options.out)
    if len(options.targets) > 1:
        path = options.out / "driven.webp"
        film = draw_film(options.targets, options.data_dir, options.models_dir)
        print(f"{path}: {save_film(film, path) // 1000} kB.")
