"""Room for pixels."""

import asyncio

import pytest

from service.media.pixel_room import PixelRoom

pytestmark = pytest.mark.anyio


async def test_small_pictures_share_and_the_largest_is_alone() -> None:
    room, held = PixelRoom(100), []
    gate = asyncio.Event()

    async def hold(pixels: int) -> None:
        async with room.hold(pixels):
            held.append(pixels)
            await gate.wait()
            held.remove(pixels)

    tasks = [asyncio.create_task(hold(pixels)) for pixels in (60, 30, 100, 10)]
    await asyncio.sleep(0.01)
    assert held == [60, 30]  # ten would fit, but the hundred came first
    tasks[2].cancel()
    await asyncio.sleep(0.01)
    assert held == [60, 30, 10]
    gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with room.hold(100):
        assert held == []
