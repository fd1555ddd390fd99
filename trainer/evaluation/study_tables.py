"""What the studies measured, as tables and a curve: ``docs/study/README.md`` and ``designs.svg``."""

import json
from collections.abc import Mapping
from pathlib import Path

import matplotlib
from pydantic import BaseModel, ConfigDict

from trainer.evaluation.report import write_text

matplotlib.use("svg")

CURVE = "designs.svg"

STUDIES: Mapping[str, tuple[str, str]] = {
    "designs": (
        "Designs of Theta",
        "Each trained for the same time. `times_faster` than the authors' widths, both timed in turn.",
    ),
    "terms": ("Terms of the loss, left out one at a time", "Each trained for the same steps."),
    "converter_terms": (
        "Terms of the converter, left out one at a time",
        "A quarter of the default's steps. Measured in landmarks: `rebuilt` and `cycle` are mean errors of a point in "
        "crop units, there and back through the other identity; `from_target` is how far the mean of the converted "
        "lies from that of the target's training frames.",
    ),
    "departures": ("Departures from the paper, taken back one at a time", "Each trained for the same steps."),
}
"""File -> heading and what to know, in the order of the page."""

INTRODUCTION = """# Studies

Made by `make study`, not by hand. Short trainings on two CPU cores, one seed each, measured on the target's test block:
small differences are chance, and a term may bring in a long training what it does not in a short one. `psnr` is in dB
over the whole crop, `ssim_box` and `gradient_energy_box` over the landmarks' box; `own_` and `driven_` are rank
correlations of what was asked for and what the detector finds on the picture, of the target's own test frames and of
another person's.
"""


class Outcome(BaseModel):
    """What a variant came to on the test block."""

    model_config = ConfigDict(frozen=True)

    steps: int
    seconds: float
    figures: Mapping[str, float]


def read_outcomes(path: Path) -> dict[str, Outcome]:
    """Variant -> outcome, from a study's file."""
    return {name: Outcome.model_validate(each) for name, each in json.loads(path.read_text("utf-8")).items()}


def write_tables(folder: Path) -> Path:
    """The page of all studies whose files are in the folder."""
    parts = [INTRODUCTION]
    for name, (heading, note) in STUDIES.items():
        if (path := folder / f"{name}.json").exists():
            parts += [f"## {heading}\n", f"{note}\n", format_outcomes(read_outcomes(path))]
            if name == "designs":
                parts.append(f"![Held-out quality over milliseconds]({CURVE})\n")
    page = folder / "README.md"
    write_text(page, "\n".join(parts))
    return page


def format_outcomes(results: Mapping[str, Outcome]) -> str:
    """A Markdown table of a study, a line for each variant."""
    columns = list(next(iter(results.values())).figures)
    lines = [["", "steps", "minutes", *columns], ["---"] * (len(columns) + 3)]
    for name, outcome in results.items():
        cells = [f"{outcome.figures[column]:.3f}" if column in outcome.figures else "–" for column in columns]
        lines.append([name, str(outcome.steps), f"{outcome.seconds / 60:.1f}", *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def draw_curve(results: Mapping[str, Outcome], path: Path) -> None:
    """Held-out quality over milliseconds, as SVG."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, name, label in zip(axes, ("psnr", "ssim_box"), ("PSNR in dB", "SSIM in the face box"), strict=True):
        for design, outcome in results.items():
            place = (outcome.figures["milliseconds"], outcome.figures[name])
            axis.plot(*place, "o", color="tab:blue")
            axis.annotate(design, place, xytext=(5, 5), textcoords="offset points")
        axis.set(xscale="log", xlabel="milliseconds a picture, two CPU threads", ylabel=label)
        times = [outcome.figures["milliseconds"] for outcome in results.values()]
        axis.set_xticks(times, [f"{time:.0f}" for time in times])
        axis.minorticks_off()
        axis.margins(0.15)  # room for the names
        axis.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
