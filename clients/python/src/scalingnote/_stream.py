"""Search as you type, without asyncio."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import grpc

from ._proto import method
from ._retries import Retries
from ._servers import Server, Servers, serialize
from ._stream_core import Line, StreamCore, Waiting, server_ended
from .answers import SearchResult
from .errors import ScalingnoteError, client_closed, from_rpc

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from .types import StreamSearchOptions


class _Outbox:
    """Read by gRPC on a thread of its own."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._request: Any = None
        self._is_closed = False

    def put(self, request: Any) -> Any | None:
        with self._changed:
            replaced, self._request = self._request, request
            self._changed.notify_all()
            return replaced

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        with self._changed:
            while self._request is None:
                if self._is_closed:
                    raise StopIteration
                self._changed.wait()
            request, self._request = self._request, None
            return request


class _Core(StreamCore[Server]):
    def __init__(self, servers: Servers, options: Mapping[str, Any]) -> None:
        super().__init__(servers.settings, options)
        self._servers = servers
        self._keeper: threading.Thread | None = None

    def make_retries(self, deadline: float) -> Retries:
        self._servers.check_open()
        return self._servers.retries(deadline)

    def connect(self) -> None:
        threading.Thread(target=self._open, daemon=True, name="scalingnote-search").start()

    def _open(self) -> None:
        newest = self.newest()
        deadline = newest.retries.deadline if newest else time.monotonic()
        avoid = newest.line.server if newest and newest.line else None
        path, read = method("QueryService", "SearchStream")
        try:
            server = self._servers.pick(deadline, avoid)
            outbox = _Outbox()
            start = server.channel.stream_stream(path, request_serializer=serialize, response_deserializer=read)
            call = start(outbox, metadata=self._servers.metadata(self.metadata))
        except ScalingnoteError as error:
            self.not_opened(error)
            return
        except ValueError:  # The channel was closed.
            self.not_opened(client_closed())
            return
        line = Line(server, server.address, outbox, call)
        self.opened(line)
        self._read(line)

    def _read(self, line: Line[Server]) -> None:
        try:
            for response in line.call:
                self.heard(line, response)
            self.ended(line, server_ended())
        except grpc.RpcError as failed:
            try:
                self._servers.check_open()
                self.ended(line, from_rpc(failed))
            except ScalingnoteError as closed:
                self.ended(line, closed)

    def retry(self, waiting: Waiting[Server], error: ScalingnoteError, server: Server) -> None:
        threading.Thread(
            target=self._wait, args=(waiting, error, server), daemon=True, name="scalingnote-retry"
        ).start()

    def _wait(self, waiting: Waiting[Server], error: ScalingnoteError, server: Server) -> None:
        try:
            self._servers.before_retry(waiting.retries, error, server)
        except ScalingnoteError as final:
            self.give_up(waiting, final)
        else:
            self.again(waiting)

    def watch(self, waiting: Waiting[Server]) -> None:
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep, daemon=True, name="scalingnote-deadlines")
            self._keeper.start()
        self.changed.notify_all()

    def _keep(self) -> None:
        """One thread minds the deadlines while there is any."""
        while True:
            with self.changed:
                if not self.waiting:
                    self._keeper = None
                    return
                first = min(self.waiting, key=lambda each: each.retries.deadline)
                left = first.retries.deadline - time.monotonic()
                if left > 0:
                    self.changed.wait(left)
                    continue
            self.too_late(first)


class SearchStream:
    """A newer query supersedes the older one, which then answers None. Use it from as many threads as you like.

    A stream that breaks is opened again by itself, on another server where there is one, and the newest query is asked
    again as long as its deadline allows; the older ones count as superseded.
    """

    def __init__(self, servers: Servers, options: Mapping[str, Any]) -> None:
        self._core = _Core(servers, options)

    def submit(self, **options: Unpack[StreamSearchOptions]) -> Future[SearchResult | None]:
        """Begins a search, and does not wait for it. A future that is cancelled gives the query up."""
        return self._core.ask(options).future

    def search(self, **options: Unpack[StreamSearchOptions]) -> SearchResult | None:
        """Searches; None where a newer query came first. `timeout` is of this query, reconnections included."""
        return self._core.ask(options).future.result()

    def close(self) -> None:
        """Ends the stream; what is waiting is still answered."""
        self._core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
