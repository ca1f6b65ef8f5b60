"""What stays open: the pose WebSocket and the event stream."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.responses import StreamingResponse

from app.shutdown import FAREWELL_SECONDS
from app.state import Shared

GOING_AWAY = 1001  # RFC 6455, 7.4.1

router = APIRouter()


@router.websocket("/vision/ws/pose")
async def pose(socket: WebSocket, shared: Shared) -> None:
    """Answer every message until the client leaves or the process ends, then close with 1001."""
    await socket.accept()
    with shared.shutdown.holds():
        answers = asyncio.create_task(_answer(socket, shared.settings.release))
        ending = asyncio.create_task(shared.shutdown.requested.wait())
        try:
            await asyncio.wait({answers, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not answers.done():
                answers.cancel()
                await asyncio.wait({answers})
                await _say_goodbye(socket)
        finally:
            answers.cancel()
            ending.cancel()


async def _answer(socket: WebSocket, release: str) -> None:
    with suppress(WebSocketDisconnect):
        while True:
            message: Any = await _message(socket)
            if isinstance(message, dict):
                await socket.send_json({**message, "release": release})
            else:
                await socket.send_text(str(message))


async def _message(socket: WebSocket) -> Any:
    try:
        text = await socket.receive_text()
    except KeyError:  # a binary frame
        return "only text is understood"
    try:
        return json.loads(text)
    except ValueError:
        return text


async def _say_goodbye(socket: WebSocket) -> None:
    with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        await socket.close(GOING_AWAY, "service restart")
        # Until the client has answered: what it sends meanwhile must not meet a closed socket, or the reset that it
        # gets for that can overtake our goodbye.
        async with asyncio.timeout(FAREWELL_SECONDS):
            while (await socket.receive())["type"] != "websocket.disconnect":
                pass


@router.get("/stream")
async def stream(shared: Shared) -> StreamingResponse:
    """One server-sent event per second, to an orderly end when the process ends."""
    return StreamingResponse(
        _events(shared),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _events(shared: Shared) -> AsyncIterator[str]:
    number = 0
    with shared.shutdown.holds():
        while not shared.shutdown.requested.is_set():
            number += 1
            yield f"data: {json.dumps({'event': number, 'release': shared.settings.release})}\n\n"
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await shared.shutdown.requested.wait()
