"""The tables: cells with their intervals, what is missing, one target alone, and what HTML must not take for markup."""

import numpy as np

from trainer.evaluation.intervals import Estimate
from trainer.evaluation.report import render_report
from trainer.evaluation.results import EVERY, Driven, Evaluation, Figure, Task, make_figure, name_metric
from trainer.evaluation.tables import (
    MEAN,
    NONE,
    build_brief,
    build_tables,
    build_targets,
    format_cell,
    format_markdown,
    format_text,
)


def make(system: str, task: Task, driver: str, target: str, metric: str, value: float) -> Figure:
    return make_figure(system, task, driver, target, metric, Estimate(value, value + np.linspace(-0.1, 0.1, 1001), 7))


def evaluate(*figures: Figure) -> Evaluation:
    names = {"ada": "Ada", "bob": "Bob <b>"}
    driven = {
        name: Driven(display_name=label, frames=7, of=20, block=3, moving={"mouth": 4}) for name, label in names.items()
    }
    return Evaluation(
        systems={"landmarkgan": "LandmarkGAN", "nearest": "nearest training frame"},
        bundles={"ada": {"tl2f": "0" * 64}},
        drivers=driven,
        stills=2,
        notes=(),
        versions={"numpy": "2"},
        figures=figures,
    )


PAIR = (
    make("landmarkgan", "cross", "bob", "ada", "id", 0.4),
    make("landmarkgan", "cycle", "bob", "ada", "lmk", 0.5),
    make("landmarkgan", "cross", "bob", "ada", "moving_mouth", 0.6),
    make("nearest", "cross", "bob", "ada", "id", 0.2),
    *(make("landmarkgan", "cross", EVERY, EVERY, metric, 0.3) for metric in ("id", "moving_mouth")),
)
OWN = make("landmarkgan", "own", "ada", "ada", "psnr", 25.0)


def test_a_cell_has_its_interval() -> None:
    assert format_cell(OWN, 2) == "25.00 [24.91, 25.09]"
    assert format_cell(None, 2) == NONE


def test_a_row_for_each_system_and_a_group_for_each_pair() -> None:
    paired = build_tables(evaluate(*PAIR, OWN))[0]
    assert [group.title for group in paired.groups[:2]] == ["Bob <b> drives Ada", "Mean over these"]
    (ours, cells), (nearest, others) = paired.groups[0].rows
    assert (ours, nearest) == ("LandmarkGAN", "nearest training frame")
    assert cells == ["0.500 [0.405, 0.595]", NONE, NONE, NONE, "0.400 [0.305, 0.495]", NONE]
    assert others[4] == "0.200 [0.105, 0.295]"
    assert paired.groups[-1].title.startswith("The paper's Table 1, quoted")
    assert paired.groups[-1].rows[-1][1][:5] == ("0.77", NONE, "0.68", NONE, "0.31")


def test_the_same_cells_on_the_terminal_and_in_markdown() -> None:
    table = build_tables(evaluate(*PAIR))[0]
    text, markdown = format_text(table), format_markdown(table)
    for cell in ("0.500 [0.405, 0.595]", "0.400 [0.305, 0.495]", "3.09"):
        assert cell in text
        assert cell in markdown
    assert len({line.count("|") for line in markdown.splitlines()}) == 1


def test_one_target_that_nobody_drives() -> None:
    evaluation = evaluate(OWN)
    cells = ["25.00 [24.91, 25.09]"]
    assert build_targets(evaluation, ["ada"]).groups[0].rows == [("own frames: PSNR, dB ↑", cells)]
    assert build_targets(evaluate(OWN, *PAIR), ["ada"], brief=True).groups[0].rows == [("PSNR, dB ↑", cells)]
    assert all(format_text(table) for table in build_tables(evaluation))


def test_a_manifests_keys_name_the_driver_and_the_mode() -> None:
    calibrated = make("calibrated", "cross", "bob", "ada", "mouth", 0.5)
    assert [name_metric(each) for each in (OWN, PAIR[0], PAIR[1], calibrated)] == [
        "own_psnr",
        "from_bob_id",
        "cycle_bob_lmk",
        "calibrated_from_bob_mouth",
    ]


def test_names_are_no_markup_in_the_report() -> None:
    report = render_report(evaluate(*PAIR, OWN), [])
    assert "Bob &lt;b&gt; drives Ada" in report
    assert "<b>" not in report
    assert "<td>0.400 <span>[0.305, 0.495]</span></td>" in report


def test_a_page_has_room_for_means_alone() -> None:
    tables = build_brief(evaluate(*PAIR, OWN))
    assert [group.title for group in tables[0].groups] == [MEAN]
    assert [group.title for group in tables[1].groups] == ["Ada"]
