"""An ingest over as many connections as it takes, on the thread that called."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc

from ._progress import Notice, Progress
from ._proto import method
from ._servers import Server, Servers, serialize
from .answers import IngestSummary
from .errors import ScalingnoteError, from_rpc

_END = object()


@dataclass
class _End:
    error: ScalingnoteError | None


class _Connection:
    """Messages go out through a queue; a thread of its own puts in what comes back."""

    def __init__(self, server: Server, progress: Progress, servers: Servers) -> None:
        path, read = method("DocumentService", "Ingest")
        self.outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        open_ = server.channel.stream_stream(path, request_serializer=serialize, response_deserializer=read)
        try:
            self._call: Any = open_(iter(self.outbox.get, None), metadata=servers.metadata(progress.metadata))
        except ValueError:
            servers.check_open()
            raise
        threading.Thread(target=self._read, daemon=True, name="scalingnote-ingest").start()

    def _read(self) -> None:
        try:
            for response in self._call:
                self.inbox.put(response)
            self.inbox.put(_End(None))
        except grpc.RpcError as error:
            self.inbox.put(_End(from_rpc(error)))

    def close(self) -> None:
        self.outbox.put(None)
        self._call.cancel()


def _notify(notices: list[Notice]) -> None:
    for notice in notices:
        notice()


class Ingest:
    """Runs on the caller's thread, callbacks too."""

    def __init__(self, servers: Servers, source: Iterable[Any], progress: Progress) -> None:
        self._servers = servers
        self._source = iter(source)
        self._progress = progress
        self._open_timeout = servers.settings.timeout

    def run(self) -> IngestSummary:
        """Sends until the source is exhausted and everything is durable."""
        progress = self._progress
        server: Server | None = None
        while True:
            server = self._servers.pick(time.monotonic() + self._open_timeout, server)
            error, notices = progress.ended(self._over_one_connection(server).error)
            _notify(notices)
            if error is None:
                return progress.summary
            self._servers.check_open()
            wait = progress.patience.next(error)
            if progress.callbacks.on_reconnect is not None:
                progress.callbacks.on_reconnect(error, wait)
            time.sleep(wait)

    def _over_one_connection(self, server: Server) -> _End:
        connection = _Connection(server, self._progress, self._servers)
        try:
            connection.outbox.put(self._progress.begin())
            end = self._receive(connection, self._open_timeout)
            if end is not None:
                return end
            for message in self._progress.unfinished():
                connection.outbox.put(message)
            return self._feed(connection)
        finally:
            connection.close()

    def _feed(self, connection: _Connection) -> _End:
        progress = self._progress
        is_closed = False
        while True:
            must_wait = is_closed or progress.is_full
            end = self._receive(connection, progress.patience_seconds if must_wait else 0)
            if end is not None:
                return end
            if must_wait:
                continue
            operation = _END if progress.exhausted else next(self._source, _END)
            if operation is _END:
                progress.exhausted = is_closed = True
                connection.outbox.put(None)
                continue
            message, notices = progress.accept(operation)
            _notify(notices)
            if message is not None:
                connection.outbox.put(message)

    def _receive(self, connection: _Connection, limit: float) -> _End | None:
        """Takes in what has come, and waits for the first of it where there is a limit."""
        wait = limit
        while True:
            try:
                event = connection.inbox.get(timeout=wait) if wait > 0 else connection.inbox.get_nowait()
            except queue.Empty:
                return None if wait <= 0 else _End(self._progress.silent(limit))
            if isinstance(event, _End):
                return event
            _notify(self._progress.receive(event))
            wait = 0
