"""``python -m service.reenact_video``: a clip to the target's face, without a server; the same way as a video job's."""

import argparse
import asyncio
import logging
import math
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from pydantic import ValidationError
from tqdm import tqdm

from service.inference.face_player import Layout
from service.lifecycle import load_face_service
from service.media.clip_renderer import Progress, RenderOptions, render_clip
from service.media.video_process import VideoLimits
from service.provenance.label import Label
from service.settings import Settings
from shared.errors import LandmarkGANError

FAILED, WRONG_USAGE, SIGNALLED = 1, 2, 128


def parse_arguments(arguments: Sequence[str] | None, program: str) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="A clip of anyone to the target's face, as an MP4 with the clip's frames and times. "
        "The LANDMARKGAN_* variables of the service count here too.",
    )
    parser.add_argument("clip", type=Path, help="MP4, WebM, MKV, MOV, AVI ...")
    parser.add_argument("--target", help="target id (default: LANDMARKGAN_DEFAULT_TARGET)")
    parser.add_argument("-o", "--output", type=Path, metavar="MP4", help="default: CLIP-reenacted.mp4, in this folder")
    parser.add_argument("--layout", choices=get_args(Layout), default="face", help="default: face")
    parser.add_argument("--face", type=int, default=0, metavar="N", help="which face; 0, the default, is the largest")
    parser.add_argument("--start", type=float, default=0, metavar="S", help="second at which to begin; default: 0")
    parser.add_argument("--end", type=float, metavar="S", help="second at which to end; default: where the clip does")
    parser.add_argument("--label", choices=get_args(Label), default="none", help="one that people see")
    parser.add_argument("--no-smoothing", dest="smoothing", action="store_false", help="leave the detector's jitter in")
    parser.add_argument("--overwrite", action="store_true", help="replace the output where it is there already")
    given = parser.parse_args(arguments)
    if given.output is None:
        given.output = Path(f"{given.clip.stem}-reenacted.mp4")
    return given


def main(arguments: Sequence[str] | None = None, program: str = "python -m service.reenact_video") -> int:
    """Make the video. Returns the exit status: 1 for what failed, 2 for wrong usage, 128 + n for the signal n."""
    given = parse_arguments(arguments, program)
    logging.basicConfig(level="WARNING", format="%(levelname)s %(message)s")
    try:
        settings = Settings()
        options = RenderOptions.model_validate({name: getattr(given, name) for name in RenderOptions.model_fields})
    except ValidationError as error:
        for each in error.errors():
            print(f"{'_'.join(str(part) for part in each['loc'])}: {each['msg']}", file=sys.stderr)
        return WRONG_USAGE
    wrong = check_paths(given.clip, given.output, given.overwrite)
    if wrong:
        print(wrong, file=sys.stderr)
        return WRONG_USAGE
    caught: list[signal.Signals] = []
    try:
        progress = asyncio.run(_make(settings, given.clip, given.output, options, caught))
    except LandmarkGANError as error:
        print(" ".join(filter(None, (str(error), getattr(error, "expected", None)))), file=sys.stderr)
        return FAILED
    except (asyncio.CancelledError, KeyboardInterrupt):
        number = caught[0] if caught else signal.SIGINT
        print(f"Stopped by {signal.Signals(number).name}; nothing was left at {given.output}.", file=sys.stderr)
        return SIGNALLED + number
    print(f"{given.output}: {progress.frames} frames, {progress.without_face} of them without a face")
    return 0


def check_paths(clip: Path, output: Path, overwrite: bool) -> str | None:
    """What is wrong with the two paths, in words; None where nothing is."""
    if not clip.is_file():
        return f"There is no file {clip}."
    if not output.parent.is_dir():
        return f"There is no folder {output.parent} to write to."
    if output.exists() and (not output.is_file() or output.samefile(clip)):
        return f"{output} is the clip itself, or no file; name another output."
    if output.exists() and not overwrite:
        return f"{output} is there already; --overwrite replaces it."
    return None


async def _make(
    settings: Settings, clip: Path, output: Path, options: RenderOptions, caught: list[signal.Signals]
) -> Progress:
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None

    def stop(number: signal.Signals) -> None:
        caught.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    face_service = await asyncio.to_thread(load_face_service, settings, None)
    try:
        limits = VideoLimits(seconds=math.inf, pixels=settings.max_video_pixels)
        with tqdm(desc=clip.name, unit="frame", mininterval=0.5) as bar:

            def tell(progress: Progress) -> None:
                bar.total = progress.total
                bar.update(progress.frames - bar.n)

            target = face_service.find_target(options.target)
            return await render_clip(face_service, target, clip, output, options, limits, tell)
    finally:
        await asyncio.shield(asyncio.to_thread(face_service.close))


if __name__ == "__main__":
    sys.exit(main())
