"""An ingest over as many connections as it takes, with asyncio."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from functools import partial
from typing import Any

import grpc
import grpc.aio

from ._aio_servers import AsyncServer, AsyncServers
from ._progress import Notice, Progress
from ._proto import method
from ._servers import serialize
from .answers import IngestSummary
from .errors import ScalingnoteError, from_rpc, unavailable

_END: Any = object()
# What `read` gives at the end of a stream. Type stubs of gRPC do not all know it.
EOF: Any = getattr(grpc.aio, "EOF")


async def _iterate(source: Any) -> AsyncIterator[Any]:
    if isinstance(source, AsyncIterable):
        async for item in source:
            yield item
    else:
        for item in source:
            yield item
            # A plain iterable has no pause of its own: what has arrived comes first.
            await asyncio.sleep(0)


async def _notify(notices: list[Notice]) -> None:
    for notice in notices:
        answer = notice()
        if inspect.isawaitable(answer):
            await answer


class AsyncIngest:
    """Runs in the loop of the caller, callbacks too."""

    def __init__(
        self, servers: AsyncServers, source: AsyncIterable[Any] | Iterable[Any], progress: Progress
    ) -> None:
        self._servers = servers
        self._source: Any = _iterate(source)
        self._progress = progress
        self._open_timeout = servers.settings.timeout
        # What the source gives next; where a connection ends meanwhile, it is kept for the next one.
        self._taking: asyncio.Task[Any] | None = None
        self._room = asyncio.Event()

    async def run(self) -> IngestSummary:
        """Sends until the source is exhausted and everything is durable."""
        progress = self._progress
        server: AsyncServer | None = None
        try:
            while True:
                server = await self._servers.pick(time.monotonic() + self._open_timeout, server)
                error, notices = progress.ended(await self._over_one_connection(server))
                await _notify(notices)
                if error is None:
                    return progress.summary
                self._servers.check_open()
                wait = progress.patience.next(error)
                if error.reason == "STREAM_IDLE" and not progress.is_waiting:
                    # Before the source has something, a connection would only take a place from others.
                    await asyncio.wait([self._take()])
                if progress.callbacks.on_reconnect is not None:
                    await _notify([partial(progress.callbacks.on_reconnect, error, wait)])
                await asyncio.sleep(wait)
        finally:
            if self._taking is not None:
                self._taking.cancel()
                await asyncio.gather(self._taking, return_exceptions=True)
            await self._source.aclose()

    async def _over_one_connection(self, server: AsyncServer) -> ScalingnoteError | None:
        """Returns why the connection ended, if not as it should. Raises what the caller's own code raised."""
        path, read = method("DocumentService", "Ingest")
        start = server.channel.stream_stream(path, request_serializer=serialize, response_deserializer=read)
        call = start(metadata=self._servers.metadata(self._progress.metadata))
        feeding: asyncio.Task[None] | None = None
        try:
            try:
                first = await asyncio.wait_for(self._open(call), self._open_timeout)
            except (TimeoutError, asyncio.TimeoutError):
                return self._progress.silent(self._open_timeout)
            if first is EOF:
                return unavailable("the document service ended the stream before it began")
            await _notify(self._progress.receive(first))
            feeding = asyncio.ensure_future(self._feed(call))
            return await self._listen(call, feeding)
        except grpc.aio.AioRpcError as error:
            return from_rpc(error)
        except asyncio.InvalidStateError:
            return unavailable("the stream to the document service was over")
        except asyncio.CancelledError:
            # Closing the client cancels its calls, too.
            self._servers.check_open()
            raise
        finally:
            call.cancel()
            if feeding is not None:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)

    async def _open(self, call: Any) -> Any:
        await call.write(self._progress.begin())
        return await call.read()

    async def _listen(self, call: Any, feeding: asyncio.Task[None]) -> ScalingnoteError | None:
        """Takes in what comes. While the server owes something, it has to say something in time."""
        limit = self._progress.patience_seconds
        reading = asyncio.ensure_future(call.read())
        heard = time.monotonic()
        try:
            while True:
                watched: set[asyncio.Future[Any]] = {reading} if feeding.done() else {reading, feeding}
                await asyncio.wait(watched, timeout=min(limit, 1.0), return_when=asyncio.FIRST_COMPLETED)
                if feeding.done():
                    failed = feeding.exception()
                    # Why the stream ended, reading tells.
                    if failed is not None and not isinstance(
                        failed, (grpc.aio.AioRpcError, asyncio.InvalidStateError)
                    ):
                        raise failed
                now = time.monotonic()
                if reading.done():
                    response = reading.result()
                    if response is EOF:
                        return None
                    await _notify(self._progress.receive(response))
                    self._room.set()
                    heard = now
                    reading = asyncio.ensure_future(call.read())
                elif not self._progress.is_waiting:
                    heard = now
                elif now - heard > limit:
                    return self._progress.silent(limit)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _feed(self, call: Any) -> None:
        """Writes whatever may be written. A write waits while the server is busy: that is the backpressure."""
        for message in self._progress.unfinished():
            await call.write(message)
        while not self._progress.exhausted:
            while self._progress.is_full:
                self._room.clear()
                await self._room.wait()
            operation = await asyncio.shield(self._take())
            self._taking = None
            if operation is _END:
                self._progress.exhausted = True
                break
            message, notices = self._progress.accept(operation)
            await _notify(notices)
            if message is not None:
                await call.write(message)
        await call.done_writing()

    def _take(self) -> asyncio.Task[Any]:
        if self._taking is None:
            self._taking = asyncio.ensure_future(self._next())
        return self._taking

    async def _next(self) -> Any:
        return await anext(self._source, _END)
