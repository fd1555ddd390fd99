"""The figures of an evaluation, as data: what table, JSON, report, manifests and docs are made of."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.bundle import BundleManifest, Measured
from trainer.evaluation.intervals import Estimate

Task = Literal["own", "generator", "cross", "cycle", "stills", "clips"]
EVERY = "all"
"""In place of a driver and a target: the mean over every pair that has the figure."""

DIGITS = 4
Rounded = Annotated[float, Field(allow_inf_nan=False)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(_Frozen):
    """One figure of one system: `driver` drives `target`.

    They are the same for `own` and `generator`; strangers drive for `stills`, and clips of them for `clips`.
    """

    system: str
    task: Task
    driver: str
    target: str
    metric: str
    value: Rounded
    low: Rounded
    high: Rounded
    frames: int = Field(ge=1)


class Driven(_Frozen):
    """What of a driver was shown: how many test frames, and in how many of them each measure moves."""

    display_name: str
    frames: int
    of: int = Field(description="Test frames that there are.")
    block: int = Field(description="Frames shown in a second, the bootstrap's block.")
    moving: Mapping[str, int]


class Evaluation(_Frozen):
    """All figures and what they were measured on. It holds no time or place: the same bundles give the same text."""

    systems: Mapping[str, str] = Field(description="System -> its name for people, in the order of the tables.")
    bundles: Mapping[str, Mapping[str, str]] = Field(description="Target -> SHA-256 of its networks.")
    drivers: Mapping[str, Driven]
    stills: int
    notes: tuple[str, ...]
    versions: Mapping[str, str]
    figures: tuple[Figure, ...]

    def find(self, system: str, task: Task, driver: str, target: str, metric: str) -> Figure | None:
        """One figure, where it was measured."""
        wanted = (system, task, driver, target, metric)
        for each in self.figures:
            if (each.system, each.task, each.driver, each.target, each.metric) == wanted:
                return each
        return None

    def list_pairs(self, task: Task) -> list[tuple[str, str]]:
        """(driver, target) of a task in the order measured, without the mean over all."""
        pairs = dict.fromkeys((each.driver, each.target) for each in self.figures if each.task == task)
        return [pair for pair in pairs if pair[0] != EVERY]


def make_figure(system: str, task: Task, driver: str, target: str, metric: str, estimate: Estimate) -> Figure:
    """Round an estimate."""
    low, high = estimate.interval
    return Figure(
        system=system,
        task=task,
        driver=driver,
        target=target,
        metric=metric,
        value=round(estimate.value, DIGITS),
        low=round(low, DIGITS),
        high=round(high, DIGITS),
        frames=estimate.frames,
    )


def hash_bundle(manifest: BundleManifest) -> dict[str, str]:
    """What tells one bundle from another: the hashes of its networks."""
    return {"converter": manifest.converter.sha256, "tl2f": manifest.tl2f.sha256}


def name_metric(figure: Figure) -> str:
    """A figure's key in a bundle's manifest, which has one target."""
    place = {"cross": f"from_{figure.driver}", "cycle": f"cycle_{figure.driver}", "stills": "strangers"}
    prefix = "" if figure.system == "landmarkgan" else f"{figure.system}_"
    return f"{prefix}{place.get(figure.task, figure.task)}_{figure.metric}"


def to_measured(figure: Figure) -> Measured:
    """The figure as a manifest has it."""
    return Measured(value=figure.value, low=figure.low, high=figure.high, split="test", frames=figure.frames)
