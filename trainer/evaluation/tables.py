"""The figures as tables: the same cells on the terminal, in Markdown and in the report."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trainer.evaluation.results import EVERY, Evaluation, Figure, Task

PAPER = (
    ("GANimation", "3.09", "0.46", "0.37"),
    ("X2Face", "1.14", "0.61", "0.45"),
    ("FO", "1.02", "0.63", "0.40"),
    ("ICFace", "3.33", "0.47", "0.47"),
    ("GF", "1.63", "0.55", "0.41"),
    ("LandmarkGAN, the authors'", "0.77", "0.68", "0.31"),
)
"""The paper's Table 1, quoted: LMK, SSIM, ID."""

NONE = "–"
MEAN = "Mean over these"


@dataclass(frozen=True)
class Column:
    """A figure's column: of which trial, which metric, how many digits."""

    title: str
    task: Task
    metric: str
    digits: int


@dataclass(frozen=True)
class Group:
    """Rows that belong together: (label, cells)."""

    title: str
    rows: Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True)
class Table:
    """A table, and how it is to be read."""

    title: str
    note: str
    columns: Sequence[str]
    groups: Sequence[Group]


REENACTMENT = (
    Column("LMK ↓", "cycle", "lmk", 3),
    Column("LMK a point ↓", "cycle", "lmk_point", 4),
    Column("SSIM ↑", "cycle", "ssim", 3),
    Column("SSIM, box ↑", "cycle", "ssim_box", 3),
    Column("ID ↓", "cross", "id", 3),
    Column("face found ↑", "cross", "face_found", 2),
)
OWN = (
    Column("PSNR, dB ↑", "own", "psnr", 2),
    Column("SSIM ↑", "own", "ssim", 3),
    Column("SSIM, box ↑", "own", "ssim_box", 3),
    Column("gradient energy", "own", "gradient_energy_box", 2),
    Column("landmark error, % ↓", "own", "landmark_error", 2),
)
EDITS = (
    Column("leak, grey levels ↓", "generator", "leak", 2),
    Column("right eye shut: falls by ↑", "generator", "right_eye_falls", 2),
    Column("the left changes by ↓", "generator", "right_eye_other", 2),
    Column("left eye shut: falls by ↑", "generator", "left_eye_falls", 2),
    Column("the right changes by ↓", "generator", "left_eye_other", 2),
    Column("gaze across ↑", "generator", "gaze", 2),
)
_EXPRESSION = (
    ("mouth", "mouth"),
    ("mouth's width", "mouth_width"),
    ("right eye", "right_eye"),
    ("left eye", "left_eye"),
    ("brows", "brows"),
    ("yaw", "yaw"),
    ("pitch", "pitch"),
    ("roll", "roll"),
    ("gaze, across", "gaze_x"),
    ("gaze, down", "gaze_y"),
)
EXPRESSION = tuple(Column(title, "cross", name, 2) for title, name in _EXPRESSION)
MOVING = tuple(Column(title, "cross", f"moving_{name}", 2) for title, name in _EXPRESSION)
SECOND = tuple(Column(title, "cross", f"second_{name}", 2) for title, name in _EXPRESSION)
STILLS = (
    Column("distance to target ↓", "stills", "id", 2),
    Column("distance to stranger ↑", "stills", "id_to_source", 2),
    Column("nearer to target ↑", "stills", "nearer_target", 2),
    Column("face found ↑", "stills", "face_found", 2),
)


def build_tables(evaluation: Evaluation) -> list[Table]:
    """Every table of the evaluation."""
    paper = Group(
        "The paper's Table 1, quoted: CelebV, other people, 98 points; not measured here",
        [(name, (lmk, NONE, ssim, NONE, distance, NONE)) for name, lmk, ssim, distance in PAPER],
    )
    return [
        Table(
            "Reenactment, measured as in the paper",
            "LMK and SSIM of the cycle driver to target to driver; ID of the target made, against its reference.",
            [column.title for column in REENACTMENT],
            [*_list_groups(evaluation, "cross", REENACTMENT, mean=True), paper],
        ),
        Table(
            "Self-reenactment",
            "The target made from its own test frames, against these.",
            [column.title for column in OWN],
            _list_groups(evaluation, "own", OWN),
        ),
        Table(
            "The generator by itself",
            "What one edit of a test frame's landmarks changes. Leak: lips opened by 6 of 256 pixels, change beyond 96 "
            "pixels from them. Eyes: share of their opening as found again. Gaze: rank correlation, side to side.",
            [column.title for column in EDITS],
            _list_groups(evaluation, "generator", EDITS),
        ),
        Table(
            "Expression kept, all frames",
            "Spearman's rank correlation of a measure on the driver and on the result.",
            [column.title for column in EXPRESSION],
            _list_groups(evaluation, "cross", EXPRESSION, mean=True),
        ),
        Table(
            "Expression kept, where the driver moves",
            "The same, on the seconds in which the driver's measure spreads over more than the detector's noise.",
            [column.title for column in MOVING],
            _list_groups(evaluation, "cross", MOVING, mean=True),
        ),
        Table(
            "Expression kept, read by another detector",
            "All frames: the driver's measure, and what dlib's 68-point predictor reads on the result. The first row: "
            "the driver's own frames.",
            [column.title for column in SECOND],
            _list_groups(evaluation, "cross", SECOND, mean=True),
        ),
        Table(
            f"{evaluation.stills} faces of strangers, on photos",
            "Distances of dlib's descriptors, to the target's reference and to the stranger.",
            [column.title for column in STILLS],
            _list_groups(evaluation, "stills", STILLS),
        ),
    ]


def build_brief(evaluation: Evaluation) -> list[Table]:
    """The tables that a page has room for: means in place of pairs, and one reading of the expression."""
    reenactment, own, _, expression, *_ = build_tables(evaluation)
    mean, expression_mean = (
        replace(table, groups=[group for group in table.groups if group.title == MEAN])
        for table in (reenactment, expression)
    )
    return [mean, own, expression_mean]


def build_targets(evaluation: Evaluation, targets: Sequence[str], brief: bool = False) -> Table:
    """Figures down, targets across: LandmarkGAN, absolute and calibrated; the `brief` one has own frames alone."""
    rows: list[tuple[str, Sequence[str]]] = []

    def add(label: str, system: str, driver: str | None, column: Column) -> None:
        found = [evaluation.find(system, column.task, driver or each, each, column.metric) for each in targets]
        if any(found):
            rows.append((label + column.title, [format_cell(each, column.digits) for each in found]))

    for column in OWN:
        add("" if brief else "own frames: ", "landmarkgan", None, column)
    for column in () if brief else EDITS:
        add("edited landmarks: ", "landmarkgan", None, column)
    if brief:
        return Table("", "", list(targets), [Group("", rows)])
    for driver, driven in evaluation.drivers.items():
        for system in ("landmarkgan", "calibrated"):
            mode = ", calibrated" if system == "calibrated" else ""
            for column in (*REENACTMENT, *EXPRESSION):
                add(f"driven by {driven.display_name}{mode}: ", system, driver, column)
    for column in STILLS[:3]:
        add(f"driven by {evaluation.stills} strangers' photos: ", "landmarkgan", "strangers", column)
    return Table("", "", list(targets), [Group("", rows)])


def format_cell(figure: Figure | None, digits: int) -> str:
    """A figure and its interval."""
    if figure is None:
        return NONE
    return f"{figure.value:.{digits}f} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"


def format_text(table: Table) -> str:
    """A table for the terminal."""
    rows = [(f"  {label}", cells) for group in table.groups for label, cells in group.rows]
    first = max((len(label) for label, _ in rows), default=0)
    widths = [
        max(len(cell) for cell in column) for column in zip(table.columns, *(cells for _, cells in rows), strict=True)
    ]

    def join(label: str, cells: Sequence[str]) -> str:
        return f"{label:{first}}  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))

    lines = [table.title, table.note, join("", table.columns)]
    for group in table.groups:
        lines += [group.title, *(join(f"  {label}", cells) for label, cells in group.rows)]
    return "\n".join(line for line in lines if line)


def format_markdown(table: Table, corner: str = "") -> str:
    """A table in Markdown; a group is a row of its own."""
    lines = [_join_markdown([corner, *table.columns]), _join_markdown(["---"] * (len(table.columns) + 1))]
    for group in table.groups:
        if group.title:
            lines.append(_join_markdown([f"**{group.title}**", *[""] * len(table.columns)]))
        lines += [_join_markdown([label, *cells]) for label, cells in group.rows]
    return "\n".join(lines)


def _join_markdown(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _list_groups(evaluation: Evaluation, task: Task, columns: Sequence[Column], mean: bool = False) -> list[Group]:
    """A group for each pair, or target, and one for the mean over all; systems without any of the figures left out."""
    names = {name: driven.display_name for name, driven in evaluation.drivers.items()}
    titles = {
        (driver, target): f"{names[driver]} drives {names[target]}" if task == "cross" else names[target]
        for driver, target in evaluation.list_pairs(task)
    }
    if mean:
        titles[EVERY, EVERY] = MEAN
    groups = []
    for (driver, target), title in titles.items():
        rows = []
        for system, label in evaluation.systems.items():
            figures = [evaluation.find(system, column.task, driver, target, column.metric) for column in columns]
            if any(figures):
                cells = [format_cell(each, column.digits) for each, column in zip(figures, columns, strict=True)]
                rows.append((label, cells))
        if rows:
            groups.append(Group(title, rows))
    return groups
