"""Work beside the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Made = TypeVar("Made")


def run_in(
    pool: Executor, call: Callable[Given, Made], *arguments: Given.args, **options: Given.kwargs
) -> asyncio.Future[Made]:
    """What the call gives in a thread of the pool, whose log lines have the id of the request that asked for it."""
    context = copy_context()
    return asyncio.get_running_loop().run_in_executor(pool, lambda: context.run(call, *arguments, **options))
