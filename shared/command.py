"""``landmarkgan COMMAND …``, as `pip install` leaves it: the commands of service and trainer under one name.

Packages name their commands as entry points, in `pyproject.toml`; none is imported before it is asked for. They work in
the folder they are called in, where `models/` is laid on the first call.
"""

import os
import shutil
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from shared import __version__

GROUP = "landmarkgan.commands"
SHIPPED = Path(__file__).parent / "models"
"""The bundle and the detector of the wheel; in a checkout a link to `models`."""
TARGET = "franck"
LAID = (TARGET, "mesh")
WRONG_USAGE = 2


def main() -> int:
    """Run the command that the first word names; its exit status."""
    commands = {each.name: each for each in sorted(entry_points(group=GROUP))}
    name, *words = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(
            f"usage: landmarkgan COMMAND …\n\ncommands: {', '.join(commands)}\n`landmarkgan COMMAND --help` explains."
        )
        return 0
    if name == "--version":
        print(__version__)
        return 0
    if name not in commands:
        print(f"There is no command '{name}'; there are: {', '.join(commands)}.", file=sys.stderr)
        return WRONG_USAGE
    return run_command(commands[name], words)


def run_command(command: EntryPoint, words: list[str]) -> int:
    """Call the function of a command with its words, and with its name for the usage line."""
    extra = command.module.partition(".")[0]  # packages and their extras have the same names
    if not {"-h", "--help", "--models-dir"} & set(words) and "LANDMARKGAN_MODELS_DIR" not in os.environ:
        lay_models(Path("models"))
    try:
        return int(command.load()(words, f"landmarkgan {command.name}"))
    except ModuleNotFoundError as error:
        print(f"'{error.name}' is missing: pip install 'landmarkgan[cpu,{extra}]' brings it.", file=sys.stderr)
        return WRONG_USAGE


def lay_models(folder: Path) -> None:
    """Copy what the wheel brings to where there is no such folder; who names no target gets the one that is there."""
    if not folder.exists():
        part = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        for name in LAID:
            shutil.copytree(SHIPPED / name, part / name)
        part.rename(folder)
        print(f"{folder}/ is laid here: the target {TARGET} and the landmark detector.", file=sys.stderr)
    if (folder / TARGET / "bundle.json").is_file():
        os.environ.setdefault("LANDMARKGAN_DEFAULT_TARGET", TARGET)
