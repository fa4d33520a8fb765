"""Search as you type, whatever carries the messages: which query is the newest, which are superseded, which are asked
again."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

from ._channel import Settings
from ._from_wire import from_search
from ._proto import message
from ._requests import bounds_of, search_message
from ._retries import Retries
from ._values import arguments, seconds, traceparent
from .answers import SearchResult
from .errors import ScalingnoteError, from_status, unavailable
from .types import StreamOptions, StreamSearchOptions

S = TypeVar("S")


class Outbox(Protocol):
    """Holds the newest message until gRPC takes it. A query that was not sent yet needs not be, once another one comes."""

    def put(self, request: Any) -> Any | None:
        """Puts a message in; returns the one that it takes the place of."""

    def close(self) -> None:
        """No more will come."""


class Line(Generic[S]):
    """A stream to a server."""

    def __init__(self, server: S, address: str, outbox: Outbox, call: Any) -> None:
        self.server = server
        self.address = address
        self.outbox = outbox
        self.call = call
        self.is_over = False
        self.heard = 0
        """The last query that it answered anything to."""


class Waiting(Generic[S]):
    """A query that is not answered yet."""

    def __init__(self, search: Any, traceparent: str, timeout: float, retries: Retries) -> None:
        self.search = search
        self.traceparent = traceparent
        self.timeout = timeout
        self.retries = retries
        self.future: Future[SearchResult | None] = Future()
        self.line: Line[S] | None = None
        self.sequence = 0
        self.error: ScalingnoteError | None = None
        """Why the last attempt failed."""


class StreamCore(ABC, Generic[S]):
    """The state of a search stream. Every method may be called from any thread."""

    def __init__(self, settings: Settings, options: Mapping[str, Any]) -> None:
        self.metadata = bounds_of(arguments(options, StreamOptions)).metadata
        self._settings = settings
        self.changed = threading.Condition(threading.RLock())
        # In the order in which they were asked.
        self.waiting: list[Waiting[S]] = []
        self._line: Line[S] | None = None
        self._is_opening = False
        self._sequence = 0
        self.is_closed = False
        # Futures are told outside the lock: what waits for them may call us.
        self._settled: list[tuple[Waiting[S], SearchResult | None, ScalingnoteError | None]] = []

    @abstractmethod
    def make_retries(self, deadline: float) -> Retries:
        """The retries of a query."""

    @abstractmethod
    def connect(self) -> None:
        """Opens a line soon, and calls `opened` or `not_opened`."""

    @abstractmethod
    def retry(self, waiting: Waiting[S], error: ScalingnoteError, server: S) -> None:
        """Waits as `Servers.before_retry` does, and calls `again` or `give_up`."""

    @abstractmethod
    def watch(self, waiting: Waiting[S]) -> None:
        """Calls `too_late` at the query's deadline."""

    def ask(self, options: Mapping[str, Any]) -> Waiting[S]:
        """Begins a query."""
        given = arguments(options, StreamSearchOptions)
        search = search_message(given, query=given["query"])
        trace = traceparent(given.get("traceparent", ""))
        timeout = seconds(given.get("timeout", self._settings.timeout))
        if self.is_closed:
            raise stream_closed()
        waiting: Waiting[S] = Waiting(search, trace, timeout, self.make_retries(time.monotonic() + timeout))
        waiting.future.add_done_callback(lambda _: self._forget(waiting))
        with self.changed:
            self.waiting.append(waiting)
            self.watch(waiting)
            if self._line is not None:
                self._send(self._line, waiting)
            else:
                self._connect()
        self._tell()
        return waiting

    def close(self) -> None:
        """Ends the stream; what is waiting is still answered."""
        with self.changed:
            self.is_closed = True
            if self._line is not None:
                self._line.outbox.close()

    def newest(self) -> Waiting[S] | None:
        with self.changed:
            return self.waiting[-1] if self.waiting else None

    def opened(self, line: Line[S]) -> None:
        """A line is open."""
        with self.changed:
            self._is_opening = False
            self._line = line
            if self.waiting:
                self._send(line, self.waiting[-1])
            if self.is_closed:
                line.outbox.close()
        self._tell()

    def not_opened(self, error: ScalingnoteError) -> None:
        """No line could be opened."""
        with self.changed:
            self._is_opening = False
            for waiting in list(self.waiting):
                self._settle(waiting, error=error)
        self._tell()

    def heard(self, line: Line[S], response: Any) -> None:
        """A server answered a query."""
        kind = response.WhichOneof("answer")
        result = from_search(response.result) if kind == "result" else None
        error = from_status(response.error) if kind == "error" else None
        with self.changed:
            line.heard = max(line.heard, response.sequence)
            for waiting in list(self.waiting):
                if waiting.line is line and waiting.sequence == response.sequence:
                    if error is None:
                        self._settle(waiting, result)
                    else:
                        self._again(waiting, error)
        self._tell()

    def ended(self, line: Line[S], error: ScalingnoteError) -> None:
        """A line is over."""
        with self.changed:
            if not line.is_over:
                line.is_over = True
                line.outbox.close()
                if self._line is line:
                    self._line = None
                newest = self.newest()
                for waiting in [each for each in self.waiting if each.line is line]:
                    if waiting is newest or not error.retryable:
                        self._again(waiting, error)
                    else:
                        self._settle(waiting)
        self._tell()

    def again(self, waiting: Waiting[S]) -> None:
        """A query may be asked again."""
        with self.changed:
            if waiting in self.waiting:
                if waiting is not self.newest():
                    self._settle(waiting)
                elif self._line is None:
                    self._connect()
                elif self.is_closed:
                    self._settle(waiting, error=waiting.error)
                else:
                    self._send(self._line, waiting)
        self._tell()

    def give_up(self, waiting: Waiting[S], error: ScalingnoteError) -> None:
        """A query may not be asked again."""
        with self.changed:
            self._settle(waiting, error=error)
        self._tell()

    def too_late(self, waiting: Waiting[S]) -> None:
        """A query's deadline has passed."""
        with self.changed:
            line = waiting.line
            what = "no server was reached" if line is None else f"{line.address} did not answer"
            text = f"{what} within {waiting.timeout:g} s"
            late = ScalingnoteError(code="DEADLINE_EXCEEDED", reason="DEADLINE_EXCEEDED", message=text)
            if waiting in self.waiting:
                self._settle(waiting, error=waiting.error or late)
                # A server that answers nothing at all is not asked again over this stream.
                if line is not None and line is self._line and line.heard < waiting.sequence:
                    self._line = None
                    line.outbox.close()
                    line.call.cancel()
        self._tell()

    def _connect(self) -> None:
        if not self._is_opening:
            self._is_opening = True
            self.connect()

    def _send(self, line: Line[S], waiting: Waiting[S]) -> None:
        """Asks a query; those before it that no server knows of are superseded by it."""
        for older in self.waiting[: self.waiting.index(waiting)]:
            if older.line is not line:
                self._settle(older)
        self._sequence += 1
        waiting.line, waiting.sequence, waiting.error = line, self._sequence, None
        request = message("SearchStreamRequest")(
            sequence=self._sequence, search=waiting.search, traceparent=waiting.traceparent
        )
        replaced = line.outbox.put(request)
        if replaced is not None:
            for older in list(self.waiting):
                if older.line is line and older.sequence == replaced.sequence:
                    self._settle(older)

    def _again(self, waiting: Waiting[S], error: ScalingnoteError) -> None:
        waiting.error = error
        if waiting.line is not None:
            self.retry(waiting, error, waiting.line.server)

    def _settle(
        self, waiting: Waiting[S], result: SearchResult | None = None, error: ScalingnoteError | None = None
    ) -> None:
        if waiting in self.waiting:
            self.waiting.remove(waiting)
            self._settled.append((waiting, result, error))
            self.changed.notify_all()

    def _tell(self) -> None:
        while True:
            with self.changed:
                if not self._settled:
                    return
                waiting, result, error = self._settled.pop(0)
            if not waiting.future.set_running_or_notify_cancel():
                continue
            if error is None:
                waiting.future.set_result(result)
            else:
                waiting.future.set_exception(error)

    def _forget(self, waiting: Waiting[S]) -> None:
        """Its caller gave a query up."""
        with self.changed:
            if waiting in self.waiting:
                self.waiting.remove(waiting)
                self.changed.notify_all()


def stream_closed() -> ScalingnoteError:
    """What a search on a closed stream fails with."""
    text = "the search stream is closed; open another with search_stream()"
    return ScalingnoteError(code="FAILED_PRECONDITION", reason="STREAM_CLOSED", message=text)


def server_ended() -> ScalingnoteError:
    """What a stream fails with that its server ended."""
    return unavailable("the server ended the search stream; search again")
