"""What leaves an evaluation: lines on the terminal, JSON, and one HTML file that needs nothing else."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from shared.pixels import Image8
from trainer.evaluation.evaluate import STRANGERS, Material
from trainer.evaluation.figures import Panel, choose_frames, fit_cells, lay_out, name_columns
from trainer.evaluation.results import Evaluation
from trainer.evaluation.sample_sheets import Sheet
from trainer.evaluation.tables import build_tables, format_text

FIGURES_NAME, REPORT_NAME = "figures.json", "report.html"
OURS = ("LandmarkGAN", "LandmarkGAN, calibrated")
MOST_STILLS = 10
"""Photos in a row of the report."""


@dataclass(frozen=True)
class Embedded:
    """A picture inside the report, and what it shows."""

    alt: str
    base64: str
    width: int
    height: int


def format_report(evaluation: Evaluation) -> str:
    """All tables for the terminal."""
    return "\n\n".join([*(format_text(table) for table in build_tables(evaluation)), *evaluation.notes])


def write_report(
    evaluation: Evaluation,
    material: Material,
    shown: Mapping[tuple[str, str, str], Sequence[Image8]],
    sheets: Sequence[Sheet],
    folder: Path,
) -> Path:
    """Write figures.json and report.html into `folder`; the report's path.

    `shown` are the systems' pictures, by system, driver and target; `sheets` are further figures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / FIGURES_NAME, evaluation.model_dump_json(indent=2) + "\n")
    pictures = [embed(f"{title}.", grid) for title, grid in draw_grids(evaluation, material, shown).items()]
    pictures += [embed(each.caption, each.picture) for each in sheets]
    write_text(folder / REPORT_NAME, render_report(evaluation, pictures))
    return folder / REPORT_NAME


def render_report(evaluation: Evaluation, pictures: Sequence[Embedded]) -> str:
    """The report as HTML."""
    template = open_templates().get_template("report.html")
    return template.render(evaluation=evaluation, tables=build_tables(evaluation), pictures=pictures, ours=OURS)


def open_templates() -> Environment:
    """The texts in ``trainer/templates/``; those in HTML escape what is put into them."""
    return Environment(
        loader=PackageLoader("trainer"),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def draw_grids(
    evaluation: Evaluation, material: Material, shown: Mapping[tuple[str, str, str], Sequence[Image8]]
) -> dict[str, Image.Image]:
    """For each pair the driver's frames over every system's pictures; for each target strangers' photos likewise."""
    grids: dict[str, Image.Image] = {}
    pairs = dict.fromkeys((driver, target) for _, driver, target in shown)
    for driver, target in pairs:
        rows = {
            label: shown[name, driver, target]
            for name, label in evaluation.systems.items()
            if shown.get((name, driver, target))
        }
        title = f"{evaluation.drivers[target].display_name} driven by "
        if driver == STRANGERS:
            some = np.linspace(0, len(material.stills) - 1, min(MOST_STILLS, len(material.stills))).astype(int)
            rows = {label: [pictures[index] for index in some] for label, pictures in rows.items()}
            rows = {"photo": [material.still_crops[index] for index in some]} | rows
            title, columns = title + "strangers", [""] * len(some)
        else:
            clip = material.clips[driver]
            rows = {"real": [clip.crops[index] for index in choose_frames(clip.measures)]} | rows
            title, columns = title + clip.display_name, name_columns()
        cells = np.stack([[fit_cells(picture[None])[0] for picture in row] for row in rows.values()])
        grids[title] = lay_out([Panel(title, columns, list(rows), cells)])
    return grids


def embed(alt: str, picture: Image.Image) -> Embedded:
    """A picture as JPEG in base64."""
    file = BytesIO()
    picture.save(file, "JPEG", quality=85, optimize=True)
    return Embedded(alt, base64.b64encode(file.getvalue()).decode("ascii"), picture.width, picture.height)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
