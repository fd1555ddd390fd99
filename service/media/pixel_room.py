"""Room for uploaded pictures: how many pixels of them together are in memory at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class PixelRoom:
    """Holds a count alone. The largest picture is let in by itself; smaller ones share its room."""

    def __init__(self, pixels: int) -> None:
        self._free = pixels
        self._turn, self._freed = asyncio.Lock(), asyncio.Event()

    @asynccontextmanager
    async def hold(self, pixels: int) -> AsyncIterator[None]:
        """Wait for room for a picture, at most the whole of it. First come, first served: large ones do not starve."""
        async with self._turn:
            while self._free < pixels:
                self._freed.clear()
                await self._freed.wait()
            self._free -= pixels
        try:
            yield
        finally:
            self._free += pixels
            self._freed.set()
