"""A stop ends every task, also one that loses its first cancellation."""

import asyncio

from stoep_gateway import app


async def test_a_cancellation_that_a_library_loses_is_repeated(monkeypatch):
    monkeypatch.setattr(app, "_CANCEL_AGAIN_S", 0.01)
    cancelled = []

    async def connects_at_that_moment():
        for _ in range(2):  # as asyncio.wait_for before 3.12, when its result comes with it
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(True)

    task = asyncio.create_task(connects_at_that_moment())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await app._cancel([task])
    assert task.done()
    assert len(cancelled) == 2
