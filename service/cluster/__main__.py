"""``python -m service.cluster``: the application under Ray Serve, on this machine or on a cluster that is there."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence

from pydantic import ValidationError

from service.__main__ import FAILED_START, refuse_start
from service.cluster.proxy import CALLBACK, CALLBACK_PATH
from service.settings import PREFIX, Settings, find_mistakes
from shared.cores import count_cores
from shared.errors import StoreError
from shared.ray_session import join_ray
from shared.store import Store, is_url

NAME = "landmarkgan"


def parse_options(arguments: Sequence[str] | None, program: str) -> argparse.Namespace:
    """The command line; every LANDMARKGAN_* variable is a setting too."""
    parser = argparse.ArgumentParser(prog=program, description="Serve the bundles under Ray Serve.")
    parser.add_argument("--host", default=argparse.SUPPRESS, help=Settings.model_fields["host"].description)
    parser.add_argument("--port", type=int, default=argparse.SUPPRESS, help="port to listen on (default: 8000)")
    parser.add_argument("--models", metavar="PLACE", help="a folder, or a URL such as s3://bucket/models")
    parser.add_argument(
        "--replicas", default=f"1-{count_cores()}", metavar="N|N-M", help="how many, by load (default: 1 to the cores)"
    )
    parser.add_argument("--cpus", type=int, default=1, help="cores of a replica (default: 1)")
    parser.add_argument("--address", help="a Ray cluster that is there: auto, or HOST:PORT (default: one is started)")
    return parser.parse_args(arguments)


def read_replicas(text: str) -> tuple[int, int]:
    """``2`` or ``1-8``, the fewest and the most. Raises ValueError."""
    fewest, _, most = text.partition("-")
    low, high = int(fewest), int(most or fewest)
    if not 1 <= low <= high:
        raise ValueError
    return low, high


def main(arguments: Sequence[str] | None = None, program: str = "python -m service.cluster") -> int:
    """Serve until a signal ends it. Returns the exit status: 2 for what is wrong, 3 for a failed start."""
    options = parse_options(arguments, program)
    named = {name: getattr(options, name) for name in ("host", "port") if name in options}
    elsewhere = options.models is not None and is_url(options.models)
    if options.models is not None and not elsewhere:
        named["models_dir"] = os.path.abspath(options.models)
    try:
        settings = Settings.model_validate(named)
        low, high = read_replicas(options.replicas)
        if elsewhere:
            Store(options.models)
    except ValidationError as error:
        told = [("_".join(str(part) for part in each["loc"]).upper(), each["msg"]) for each in error.errors()]
        return refuse_start([f"{PREFIX}{name}: {reason}" for name, reason in told])
    except StoreError as error:
        return refuse_start([str(error)])
    except ValueError:
        return refuse_start([f"--replicas {options.replicas}: a number, or the fewest and the most, such as 1-8."])
    mistakes = find_mistakes(settings, os.environ)
    if elsewhere:  # whether its default target is there, the replicas tell
        mistakes = [each for each in mistakes if "DEFAULT_TARGET" not in each]
    if mistakes:
        return refuse_start(mistakes)
    return run(settings, options, low, high)


def run(settings: Settings, options: argparse.Namespace, low: int, high: int) -> int:
    """As `main`, of settings that are right."""
    ended = threading.Event()
    with join_ray(options.address, {CALLBACK: CALLBACK_PATH}, max(count_cores(), low * options.cpus)):
        from ray import serve
        from ray.serve.config import HTTPOptions

        from service.cluster.deployments import ClusterOptions, build

        given = settings.model_dump(include=settings.model_fields_set - {"models_dir"})
        given["jobs_dir"] = settings.jobs_dir.resolve()
        models = options.models if options.models and is_url(options.models) else str(settings.models_dir.resolve())
        cluster = ClusterOptions(settings=given, models=models, min_replicas=low, max_replicas=high, cpus=options.cpus)
        serve.start(http_options=HTTPOptions(host=settings.host, port=settings.port))
        try:
            serve.run(build(cluster), name=NAME)
        except RuntimeError as error:
            return refuse_start([f"The replicas did not start: {error}"], FAILED_START)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        print(f"Serving at http://{settings.host}:{settings.port} with {low} to {high} replicas.", flush=True)
        ended.wait()
        serve.shutdown()  # type: ignore[no-untyped-call]  # Ray ships no types for this function
    return 0


if __name__ == "__main__":
    sys.exit(main())
