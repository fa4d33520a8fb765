"""Search as you type, with asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

import grpc.aio

from ._aio_servers import AsyncServer, AsyncServers
from ._proto import method
from ._retries import Retries
from ._servers import serialize
from ._stream_core import Line, StreamCore, Waiting, server_ended
from .answers import SearchResult
from .errors import ScalingnoteError, client_closed, from_rpc

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from .types import StreamSearchOptions


class _Outbox:
    """Read by gRPC in a task of its own."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._request: Any = None
        self._is_closed = False

    def put(self, request: Any) -> Any | None:
        replaced, self._request = self._request, request
        self._changed.set()
        return replaced

    def close(self) -> None:
        self._is_closed = True
        self._changed.set()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        while self._request is None:
            if self._is_closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        request, self._request = self._request, None
        return request


class _Core(StreamCore[AsyncServer]):
    def __init__(self, servers: AsyncServers, options: Mapping[str, Any]) -> None:
        super().__init__(servers.settings, options)
        self._servers = servers
        # asyncio forgets tasks that nobody holds.
        self._tasks: set[asyncio.Task[None]] = set()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def make_retries(self, deadline: float) -> Retries:
        self._servers.check_open()
        return self._servers.retries(deadline)

    def connect(self) -> None:
        self._start(self._open())

    async def _open(self) -> None:
        newest = self.newest()
        deadline = newest.retries.deadline if newest else time.monotonic()
        avoid = newest.line.server if newest and newest.line else None
        path, read = method("QueryService", "SearchStream")
        try:
            server = await self._servers.pick(deadline, avoid)
        except ScalingnoteError as error:
            self.not_opened(error)
            return
        outbox = _Outbox()
        start = server.channel.stream_stream(path, request_serializer=serialize, response_deserializer=read)
        line = Line(
            server, server.address, outbox, start(outbox, metadata=self._servers.metadata(self.metadata))
        )
        self.opened(line)
        await self._read(line)

    async def _read(self, line: Line[AsyncServer]) -> None:
        try:
            async for response in line.call:
                self.heard(line, response)
            self.ended(line, server_ended())
        except grpc.aio.AioRpcError as failed:
            self.ended(line, self._closed() or from_rpc(failed))
        except asyncio.CancelledError:
            # The client was closed, or the loop ends; a line that is dropped has nobody waiting.
            self.ended(line, self._closed() or client_closed())

    def _closed(self) -> ScalingnoteError | None:
        try:
            self._servers.check_open()
        except ScalingnoteError as error:
            return error
        return None

    def retry(self, waiting: Waiting[AsyncServer], error: ScalingnoteError, server: AsyncServer) -> None:
        self._start(self._wait(waiting, error, server))

    async def _wait(
        self, waiting: Waiting[AsyncServer], error: ScalingnoteError, server: AsyncServer
    ) -> None:
        try:
            await self._servers.before_retry(waiting.retries, error, server)
        except ScalingnoteError as final:
            self.give_up(waiting, final)
        else:
            self.again(waiting)

    def watch(self, waiting: Waiting[AsyncServer]) -> None:
        loop = asyncio.get_running_loop()
        left = waiting.retries.deadline - time.monotonic()
        timer = loop.call_later(left, self.too_late, waiting)
        waiting.future.add_done_callback(lambda _: timer.cancel())


class AsyncSearchStream:
    """A newer query supersedes the older one, which then answers None.

    A stream that breaks is opened again by itself, on another server where there is one, and the newest query is asked
    again as long as its deadline allows; the older ones count as superseded.
    """

    def __init__(self, servers: AsyncServers, options: Mapping[str, Any]) -> None:
        self._core = _Core(servers, options)

    async def search(self, **options: Unpack[StreamSearchOptions]) -> SearchResult | None:
        """Searches; None where a newer query came first. `timeout` is of this query, reconnections included.

        Cancelling it gives the query up.
        """
        return await asyncio.wrap_future(self._core.ask(options).future)

    async def close(self) -> None:
        """Ends the stream; what is waiting is still answered."""
        self._core.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
