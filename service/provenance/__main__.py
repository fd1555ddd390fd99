"""``python -m service.provenance picture…``: which marks pictures carry, without a server."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from service.provenance.inspection import Provenance, inspect_picture
from service.settings import Settings
from shared.bundle import MANIFEST_NAME
from shared.errors import ImageError

UNMARKED, UNREADABLE = 1, 2


def main(arguments: Sequence[str] | None = None, program: str = "python -m service.provenance") -> int:
    """Print a line for each picture. Returns the exit status: 1 where one is not marked, 2 where one can't be read."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Which marks of synthetic origin a JPEG, PNG or WebP carries.",
    )
    parser.add_argument("pictures", type=Path, nargs="+", metavar="picture")
    parser.add_argument("--json", action="store_true", help="all that was found, one JSON object a line")
    given = parser.parse_args(arguments)
    settings = Settings()
    known = sorted(path.parent.name for path in settings.models_dir.glob(f"*/{MANIFEST_NAME}"))
    status = 0
    for path in given.pictures:
        try:
            found = inspect_picture(path.read_bytes(), settings.max_pixels)
        except (OSError, ImageError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            status = UNREADABLE
            continue
        target = found.find_target(known)
        if given.json:
            print(json.dumps({"picture": str(path), "synthetic": found.synthetic, "target": target} | asdict(found)))
        else:
            print(f"{path}: {describe(found, target)}")
        if not found.synthetic:
            status = max(status, UNMARKED)
    return status


def describe(found: Provenance, target: str | None) -> str:
    """What was found, in words."""
    marks = []
    if found.watermark is not None:
        marks.append(f"watermark ({found.watermark.kind})")
    if found.metadata is not None:
        marks.append(f"metadata ({found.metadata.source_type.rpartition('/')[2]})")
    if found.credentials is not None:
        marks.append(f"credentials ({found.credentials.state}, signed by {found.credentials.signer})")
    if not marks:
        return "no mark was found; that does not say that it is real"
    origin = f"target {target}" if target else "a target that is not known here"
    return f"{'synthetic' if found.synthetic else 'not marked as synthetic'}, {origin}: {', '.join(marks)}"


if __name__ == "__main__":
    sys.exit(main())
