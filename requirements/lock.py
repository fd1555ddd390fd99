"""``make lock``: writes the files beside this one, from pyproject.toml and constraints.txt.

Each extra has a list of all that it brings, pinned and hashed for every platform and Python from 3.11 on, so that a set
of extras is a set of lists. pip then takes no file whose hash is not there.
"""

import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEADER = "# Written by `make lock`, with the versions of constraints.txt.\n"
COMPILE = (
    *("uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"),
    *("--no-header", "--no-annotate", "--no-emit-index-url", "--constraints", "constraints.txt"),
)
CUDA = re.compile(r"nvidia-|cuda-|triton==")
TORCH_CPU = """\
torch==2.13.0+cpu \\
    --hash=sha256:6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b"""
"""PyTorch's build for CPUs, of Python 3.11 on x86-64: it is not on the index that the others come from."""


def lock(*source: str, given: str | None = None) -> list[str]:
    """The requirements, each with its hashes, by name."""
    done = subprocess.run([*COMPILE, *source], cwd=ROOT, input=given, check=True, capture_output=True, text=True)
    return re.split(r"\n(?=\S)", done.stdout.strip())


def write(name: str, rows: list[str]) -> None:
    """One file."""
    text = HEADER + "\n".join(rows) + "\n"
    (ROOT / "requirements" / f"{name}.txt").write_text(text)


def main() -> None:
    """All files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for extra in project["project"]["optional-dependencies"]:
        rows = lock("pyproject.toml", "--extra", extra)
        if extra != "gpu":  # torch's libraries follow its build
            rows = [row for row in rows if not CUDA.match(row)]
        write(extra, [row for row in rows if not row.startswith("torch==")])
        if extra == "trainer":
            write("torch", [row for row in rows if row.startswith("torch==")])
    write("torch-cpu", [TORCH_CPU])
    write("build", lock("-", given="\n".join(project["build-system"]["requires"])))


if __name__ == "__main__":
    main()
