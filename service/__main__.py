"""``python -m service``: the application under uvicorn, set up by LANDMARKGAN_* variables and three options."""

import argparse
import os
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from service.app import create_app
from service.errors import StartError
from service.logs import configure_logging
from service.server import Server, configure_server
from service.settings import PREFIX, Settings, find_mistakes
from service.workers import choose_workers
from shared.cores import count_cores

WRONG_SETTINGS, FAILED_START = 2, 3


def parse_options(arguments: Sequence[str] | None, program: str) -> dict[str, str | int]:
    """The settings named on the command line: they win over the variables."""
    parser = argparse.ArgumentParser(
        prog=program, description="Serve the bundles. Every LANDMARKGAN_* variable is a setting too."
    )
    parser.add_argument("--host", default=argparse.SUPPRESS, help=Settings.model_fields["host"].description)
    parser.add_argument("--port", type=int, default=argparse.SUPPRESS, help=Settings.model_fields["port"].description)
    parser.add_argument("--workers", default=argparse.SUPPRESS, help=Settings.model_fields["workers"].description)
    return dict(vars(parser.parse_args(arguments)))


def main(arguments: Sequence[str] | None = None, program: str = "python -m service") -> int:
    """Serve until a signal ends it. Returns the exit status: 2 for settings that are wrong, 3 for a failed start."""
    options = parse_options(arguments, program)
    try:
        settings = Settings.model_validate(options)
    except ValidationError as error:
        named = [("_".join(str(part) for part in each["loc"]).upper(), each["msg"]) for each in error.errors()]
        return refuse_start([f"{PREFIX}{name}: {reason}" for name, reason in named])
    if mistakes := find_mistakes(settings, os.environ):
        return refuse_start(mistakes)
    workers = choose_workers(settings.workers, count_cores())
    if workers > 1:
        from service.workers.supervisor import serve  # httpx, which one process does without

        return 0 if serve(settings, workers) else FAILED_START
    configure_logging(settings.log_level, settings.log_format)
    try:
        app = create_app(settings)
    except StartError as error:
        return refuse_start([f"{error} {error.expected or ''}"], FAILED_START)
    server = Server(configure_server(app, settings), app, settings.drain_seconds)
    server.run()
    return 0 if server.started else FAILED_START


def refuse_start(mistakes: Sequence[str], status: int = WRONG_SETTINGS) -> int:
    """Tell what is wrong; the exit status of that."""
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
