"""One evaluation written wherever its figures stand: manifests, model cards, the README and docs/evaluation.md."""

from collections.abc import Sequence
from pathlib import Path

from shared.bundle import BundleManifest, read_bundle, write_manifest
from trainer.errors import RecordError
from trainer.evaluation.drivers import KEPT
from trainer.evaluation.report import open_templates, write_text
from trainer.evaluation.results import Evaluation, Figure, hash_bundle, name_metric, to_measured
from trainer.evaluation.tables import build_brief, build_targets, format_markdown

BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
RECORDED = ("landmarkgan", "calibrated")
"""The systems that are a bundle's own."""

RELIABLE = 0.5
"""A rank correlation below it is named among the limits."""


def record(evaluation: Evaluation, models_dir: Path, folder: Path) -> list[Path]:
    """Write the figures into every manifest and model card, and into the README and docs under `folder`.

    The documents have a place for them, between BEGIN and END; one that is not there is left out. Raises RecordError,
    before anything is written, where a document has lost its place, or a bundle is another by now than was measured.
    """
    manifests = [read_measured(evaluation, target, models_dir) for target in evaluation.bundles]
    texts = {
        folder / "README.md": format_brief(evaluation, manifests),
        folder / "docs" / "evaluation.md": "\n\n".join(
            f"### {table.title}\n\n{table.note}\n\n{format_markdown(table)}" for table in build_brief(evaluation)
        ),
    }
    filled = {path: fill(path, text) for path, text in texts.items() if path.exists()}
    for manifest in manifests:
        target = manifest.target
        metrics = {name_metric(each): to_measured(each) for each in list_recorded(evaluation, target)}
        write_manifest(manifest.model_copy(update={"metrics": metrics}), models_dir / target)
        filled[models_dir / target / "README.md"] = render_card(evaluation, manifest)
    for path, text in filled.items():
        write_text(path, text)
    return list(filled)


def check_documents(folder: Path) -> None:
    """Raises RecordError where a document has no place for figures: to be told before they are measured."""
    for path in (folder / "README.md", folder / "docs" / "evaluation.md"):
        if path.exists():
            fill(path, "")


def read_measured(evaluation: Evaluation, target: str, models_dir: Path) -> BundleManifest:
    """The manifest of a bundle that was measured. Raises RecordError where its networks are others."""
    manifest = read_bundle(models_dir / target)
    if evaluation.bundles[target] != hash_bundle(manifest):
        raise RecordError(f"The bundle '{target}' was exchanged while it was measured. Run the command again.")
    return manifest


def list_recorded(evaluation: Evaluation, target: str) -> list[Figure]:
    """The figures of a target that its manifest keeps."""
    return [each for each in evaluation.figures if each.target == target and each.system in RECORDED]


def format_brief(evaluation: Evaluation, manifests: Sequence[BundleManifest]) -> str:
    """The README's table: each target's own test frames, made again."""
    table = build_targets(evaluation, list(evaluation.bundles), brief=True)
    text = f"{format_markdown(table, corner='held-out frames')}\n\n{describe_frames(evaluation)}"
    return " ".join([text, *map(describe_run, manifests)])


def describe_run(manifest: BundleManifest) -> str:
    """How long a generator learned, as a sentence."""
    if manifest.run is None:
        return f"How long {manifest.display_name}'s generator learned was not recorded."
    return f"{manifest.display_name}'s generator learned for {max(1, round(manifest.run.seconds / 60))} min."


def describe_frames(evaluation: Evaluation) -> str:
    """How many frames the figures are of, as a sentence."""
    counts = [f"{each.frames} of {each.of} of {each.display_name}" for each in evaluation.drivers.values()]
    return f"Test frames: {', '.join(counts)}. In brackets: 95 % intervals."


def fill(path: Path, text: str) -> str:
    """The document with `text` in the place for figures. Raises RecordError where it has none."""
    document = path.read_text(encoding="utf-8")
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise RecordError(f"{path} has no place for the figures: put a line {BEGIN} and a line {END} where they go.")
    return f"{head}{BEGIN}\n{text}\n{END}{tail}"


def render_card(evaluation: Evaluation, manifest: BundleManifest) -> str:
    """A bundle's README.md."""
    drivers = [each.display_name for name, each in evaluation.drivers.items() if name != manifest.target]
    return (
        open_templates()
        .get_template("card.md")
        .render(
            manifest=manifest,
            table=format_markdown(build_targets(evaluation, [manifest.target]), corner="figure"),
            weak=find_weak(evaluation, manifest.target),
            reliable=RELIABLE,
            drivers=f"It was measured driven by {', by '.join([*drivers, 'photos of strangers'])}, and by nobody else.",
        )
    )


def find_weak(evaluation: Evaluation, target: str) -> Sequence[str]:
    """What does not follow a driver reliably: the measures of each driver, as texts."""
    weak = []
    for driver, driven in evaluation.drivers.items():
        names = []
        for name in KEPT:
            everywhere = evaluation.find("landmarkgan", "cross", driver, target, name)
            figure = evaluation.find("landmarkgan", "cross", driver, target, f"moving_{name}") or everywhere
            if figure is not None and figure.value < RELIABLE:
                names.append(f"{name.replace('_', ' ')} ({figure.value:.2f})")
        if names:
            weak.append(f"{driven.display_name}'s {', '.join(names)}")
    return weak
