"""The promises of the checkout itself: what may import what, what is pinned, what the Makefile offers."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def normalise(requirement: str) -> str:
    """The package's name in a requirement, as package indexes compare names: `PyYAML>=6` -> `pyyaml`."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def read_pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(line.count("==") == 1 for line in lines)
    return {normalise(name): version for name, version in (line.split("==") for line in lines)}


def split_version(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def list_imports(package: str) -> set[str]:
    """Top-level names that a package's files import, anywhere in them, functions included."""
    names: set[str] = set()
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"{package}/ has no Python files"
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.split(".")[0])
    return names


def list_loaded_modules(code: str) -> set[str]:
    """Top-level modules that are loaded in a fresh interpreter after `code`."""
    show = "; import sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code + show], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def list_modules(package: str) -> list[str]:
    paths = sorted((ROOT / package).rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths if path.name != "__main__.py"]
    return [name.removesuffix(".__init__") for name in names]


def test_service_trainer_and_shared_keep_their_directions() -> None:
    assert list_imports("service").isdisjoint({"trainer", "torch"})
    assert "service" not in list_imports("trainer")
    assert list_imports("shared").isdisjoint({"service", "trainer"})


@pytest.mark.parametrize("package", ["service", "shared"])
def test_no_module_that_serving_needs_loads_torch(package: str) -> None:
    modules = list_modules(package)
    loaded = list_loaded_modules("import " + ", ".join(modules))
    assert package in loaded
    assert loaded.isdisjoint({"torch", "trainer", "face_alignment", "dlib"})


@pytest.mark.parametrize("package", ["service", "trainer"])
def test_whoever_has_one_machine_loads_no_ray(package: str) -> None:
    modules = [name for name in list_modules(package) if not name.startswith(f"{package}.cluster")]
    loaded = list_loaded_modules("import " + ", ".join([*modules, "service.__main__", "shared.store"]))
    assert package in loaded
    assert loaded.isdisjoint({"ray", "s3fs"} | ({"fsspec"} if package == "service" else set()))  # torch brings fsspec


def test_every_direct_dependency_is_pinned_within_its_bounds() -> None:
    pins = read_pins()
    for requirement in [*PROJECT["dependencies"], *(one for extra in EXTRAS.values() for one in extra)]:
        name = normalise(requirement)
        assert name in pins, f"{requirement} has no line in constraints.txt"
        bound = re.search(r"(==|>=)([\d.]+)", requirement)
        assert bound is not None, f"{requirement} names no version"
        pin, limit = split_version(pins[name]), split_version(bound[2])
        assert pin[: len(limit)] == limit if bound[1] == "==" else pin >= limit, f"{requirement}, pinned {pins[name]}"


def list_closure(requirements: list[str]) -> set[str]:
    """Names of all installed packages that the requirements lead to, as the installed packages themselves say."""
    waiting, seen = [Requirement(row) for row in requirements], set[tuple[str, str]]()
    while waiting:
        one = waiting.pop()
        for extra in ["", *sorted(one.extras)]:
            key = (normalise(one.name), extra)
            if key in seen:
                continue
            try:
                rows = metadata.requires(one.name) or []
            except metadata.PackageNotFoundError:
                continue  # of an extra that is not installed here
            seen.add(key)
            below = [Requirement(row) for row in rows]
            waiting += [row for row in below if row.marker is None or row.marker.evaluate({"extra": extra})]
    return {name for name, _ in seen}


def is_of_cuda(name: str) -> bool:
    """Whether the package is one of those that torch's build for CUDA brings along."""
    return name.startswith(("nvidia-", "cuda-")) or name == "triton"


def test_constraints_pin_what_the_dependencies_bring_along() -> None:
    closure = list_closure([*PROJECT["dependencies"], *(one for rows in EXTRAS.values() for one in rows)])
    assert {"anyio", "sympy", "iniconfig"} <= closure
    # The CUDA libraries follow the build of torch that the index offers.
    free = {name for name in closure if is_of_cuda(name)}
    assert sorted(closure - free - set(read_pins())) == []


def test_one_onnxruntime_and_one_opencv() -> None:
    assert [extra for extra, rows in EXTRAS.items() if "onnxruntime" in map(normalise, rows)] == ["cpu"]
    assert [extra for extra, rows in EXTRAS.items() if "onnxruntime-gpu" in map(normalise, rows)] == ["gpu"]
    assert len([name for name in read_pins() if name.startswith("opencv-")]) == 1


def test_cuda_libraries_are_not_pinned() -> None:
    assert [name for name in read_pins() if is_of_cuda(name)] == []


def test_every_direct_dependency_is_explained() -> None:
    text = (ROOT / "docs/dependencies.md").read_text()
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    explained = {normalise(name.strip()) for row in rows for name in row.split(",")} - {"package"}
    direct = {normalise(one) for one in [*PROJECT["dependencies"], *(one for rows in EXTRAS.values() for one in rows)]}
    assert explained == direct


def run_make(*words: str) -> subprocess.CompletedProcess[str]:
    """make as a newcomer types it: nothing is handed down from the `make test` that may have started these tests."""
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "ARGS")}
    command = ["make", "--no-print-directory", *words]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def plan_make(*words: str) -> str:
    done = run_make("--dry-run", *words)
    assert done.returncode == 0, done.stderr
    return re.sub(r"\s*\\\n\s*", " ", done.stdout)


def test_make_help_lists_every_target_and_is_the_default() -> None:
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    shown = run_make("help").stdout
    assert re.findall(r"^  make ([\w-]+)", shown, re.MULTILINE) == phony[1].split()
    assert run_make().stdout == shown


def test_make_train_passes_its_variables_on() -> None:
    video = plan_make("train", "TARGET=me", "VIDEO=a.mp4 b.mp4", "QUICK=1", "ARGS=--device cpu")
    assert "-m trainer train --target 'me' --video a.mp4 b.mp4 --quick --device cpu" in video
    assert "--celebv '/data/CelebV'" in plan_make("train", "TARGET=macron", "CELEBV=/data/CelebV")
    assert "--photos 'my photos'" in plan_make("train", "TARGET=me", "PHOTOS=my photos")
    shared = plan_make("train", "TARGET=me", "PROCS=2")
    assert "-m torch.distributed.run --standalone --nproc-per-node='2' -m trainer train --target 'me'" in shared


def test_make_study_names_what_the_command_knows() -> None:
    assert "-m trainer study --target 'me' --rows default" in plan_make("study", "TARGET=me", "ARGS=--rows default")


def test_serving_installs_no_trainer_extra() -> None:
    plan = plan_make("--always-make", "serve")
    assert re.search(r"requirements/install\.sh \S+/\.venv/bin/python build cpu service$", plan, re.MULTILINE)
    install = next(line for line in plan.splitlines() if "pip install" in line)
    assert "-c constraints.txt" in install
    assert "'.[cpu,service]'" in install
    assert "install.sh" not in plan_make("--always-make", "serve", "HASHES=no")
    assert ".venv-gpu/bin/python -m service" in plan_make("serve", "ONNXRUNTIME=gpu")


def test_make_serve_ray_has_its_own_extra() -> None:
    plan = plan_make("--always-make", "serve-ray", "REPLICAS=1-8", "MODELS=s3://faces/models")
    assert "'.[cpu,service,scale]'" in plan
    assert "-m service.cluster --replicas '1-8' --models 's3://faces/models'" in plan


def test_trainings_on_a_cluster_take_their_variables() -> None:
    shared = plan_make("train-ray", "TARGET=me", "WORKERS=2", "QUICK=1")
    assert "-m trainer train-ray --workers '2' --target 'me' --quick" in shared
    many = plan_make("train-many", "MANIFEST=a list.csv", "WORKERS=4", "ARGS=--again")
    assert "-m trainer train-many --workers '4'  --again 'a list.csv'" in many


def test_make_refuses_an_old_python_in_words(tmp_path: Path) -> None:
    old = tmp_path / "python-old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = run_make(f"PYTHON={old}", f"VENV={tmp_path}/venv", f"{tmp_path}/venv/.made")
    assert done.returncode == 2
    assert "needs Python 3.11 or newer" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_ci_runs_what_the_readme_says() -> None:
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & 0o111
    assert "make test" in script.read_text()
    assert "make test" in (ROOT / "README.md").read_text()


def test_no_media_checkpoint_or_build_product_is_committed() -> None:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    unwanted = re.compile(r"\.(mp4|webm|mov|avi|mkv|pt|pth|ckpt|pyc|whl)$|^(data|runs|\.venv)/|\.egg-info/")
    sample = "service/web/live/sample.webm"  # the one clip that ships: NOTICE says whose it is
    assert [path for path in listing.split("\0") if unwanted.search(path)] == [sample]
    assert (ROOT / sample).stat().st_size <= 300_000


def test_bundles_are_not_ignored_and_runs_are() -> None:
    paths = ["models/franck/tl2f.onnx", "models/franck/bundle.json", "data/franck/dataset.json", "runs/franck/last.pt"]
    paths.append("models/franck-quick/bundle.json")
    command = ["git", "check-ignore", "--no-index", *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == paths[2:]
