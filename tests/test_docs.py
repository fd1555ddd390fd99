"""What the documents promise: links that lead somewhere, a README of a few screens, an ablation for what we changed."""

import re
from pathlib import Path

import pytest

from trainer.evaluation.study import CONVERTER_ROWS, ROWS

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MADE = ("docs/study/", "docs/images/")
"""Written by `make study` and `make figures`, after the bundles they are of."""


def find_anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))
    for link in links:
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        path = (document.parent / name).resolve() if name else document
        if str(path.relative_to(ROOT)).startswith(MADE):
            continue
        assert path.exists(), link
        assert not anchor or anchor in find_anchors(path), link


def test_the_readme_is_a_few_screens() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_every_ablation_of_the_study_belongs_to_a_deviation() -> None:
    text = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    table = text[text.index("## Where it leaves the paper") : text.index("## The recipe `paper`")]
    named = {name for row in table.splitlines() for name in re.findall(r"\| `([^`]+)` \|$", row)}
    assert named == {*ROWS, *CONVERTER_ROWS} - {"default", "converter"}
