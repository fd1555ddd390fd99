"""The hash-locked lists: one for each extra, of constraints.txt's versions, and the script that installs them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.test_packaging import EXTRAS, PROJECT, is_of_cuda, list_closure, read_pins

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "requirements"


def read_list(name: str) -> dict[str, str]:
    """Package -> its pin, of one list; each must have hashes, and nothing else may stand there."""
    pins = {}
    for row in re.split(r"\n(?=\S)", (FOLDER / f"{name}.txt").read_text().strip()):
        if row.startswith("#"):
            continue
        first, *hashes = re.split(r" \\\n\s+", row)
        assert hashes, first
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), first
        requirement = Requirement(first)
        (pin,) = requirement.specifier
        assert pin.operator == "==", first
        pins[canonicalize_name(requirement.name)] = pin.version
    return pins


def test_every_extra_has_a_list() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == {*EXTRAS, "build", "torch", "torch-cpu"}


@pytest.mark.parametrize("name", [*EXTRAS, "build", "torch"])
def test_lists_have_the_versions_of_the_constraints(name: str) -> None:
    pins = read_pins()
    assert {package: pin for package, pin in read_list(name).items() if pins.get(package) != pin} == (
        {} if name != "gpu" else {package: pin for package, pin in read_list(name).items() if is_of_cuda(package)}
    )


@pytest.mark.parametrize("extra", EXTRAS)
def test_lists_have_all_that_an_extra_brings(extra: str) -> None:
    brought = list_closure([*PROJECT["dependencies"], *EXTRAS[extra]])
    left = {name for name in brought - set(read_list(extra)) if not is_of_cuda(name)}
    assert left <= {"torch"}


def test_torch_is_that_for_cpus_where_the_index_has_it(tmp_path: Path) -> None:
    assert read_list("torch-cpu")["torch"] == f"{read_list('torch')['torch']}+cpu"
    said = tmp_path / "said"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >> {said}\ncase "$*" in *torch-cpu*) exit ${{HAS_CPU:-1}} ;; esac\n')
    python.chmod(0o755)
    for answer, lists in (("0", ["torch-cpu.txt"]), ("1", ["torch-cpu.txt", "torch.txt"])):
        said.unlink(missing_ok=True)
        subprocess.run([FOLDER / "install.sh", python, "cpu", "trainer"], env={"HAS_CPU": answer}, check=True)
        first, *then = said.read_text().splitlines()
        assert "--require-hashes --no-deps -r cpu.txt -r trainer.txt" in first
        assert [line.split()[-1] for line in then] == lists
    said.unlink()
    subprocess.run([FOLDER / "install.sh", python, "cpu", "service"], env={}, check=True)
    assert "torch" not in said.read_text()
