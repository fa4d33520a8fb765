"""An ingest over as many connections as it takes."""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import grpc

from ._calls import backoff
from ._operations import Operation, id_of, operation_message
from ._proto import message
from ._values import MAX_EXACT, whole
from .errors import ScalingnoteError, from_rpc, from_status

# Several of the server's batches, so that the server never waits for the client.
DEFAULT_WINDOW = 1024
# Bytes that may wait for a watermark: documents differ in size by a factor of a million.
_WINDOW_BYTES = 32 * 1024 * 1024
# Five minutes: longer than it takes to replace a server, or to load a large tower.
DEFAULT_PATIENCE = 300.0

OutcomeKind = Literal["indexed", "unchanged", "deleted", "rejected"]
_KINDS: dict[int, OutcomeKind] = {1: "indexed", 2: "unchanged", 3: "deleted"}


@dataclass(frozen=True)
class IngestOutcome:
    """What became of one operation."""

    sequence: int
    id: str
    kind: OutcomeKind
    passages: int = 0
    encoded_passages: int = 0
    error: ScalingnoteError | None = None
    """Why it was rejected."""


@dataclass
class IngestSummary:
    """What an ingest did."""

    sent: int = 0
    indexed: int = 0
    unchanged: int = 0
    deleted: int = 0
    rejected: int = 0
    watermark: int = 0
    """Everything up to this sequence is durable."""
    identity: str = ""
    """Identity of the collection that everything went to."""
    freshness_token: str = ""
    """Of the last watermark: a search that takes it sees everything up to there."""


@dataclass
class _Pending:
    message: Any
    size: int
    id: str
    reported: bool = False


@dataclass
class _End:
    error: ScalingnoteError | None


@dataclass
class _Connection:
    """Messages go out through a queue; a thread of its own puts in what comes back."""

    call: Any = None
    outbox: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)
    inbox: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)

    def open(self, connect: Callable[[Iterator[Any]], Any]) -> None:
        self.call = connect(iter(self.outbox.get, None))
        threading.Thread(target=self._read, daemon=True, name="scalingnote-ingest").start()

    def _read(self) -> None:
        try:
            for response in self.call:
                self.inbox.put(response)
            self.inbox.put(_End(None))
        except grpc.RpcError as error:
            self.inbox.put(_End(from_rpc(error)))

    def close(self) -> None:
        self.outbox.put(None)
        self.call.cancel()


class Ingest:
    """What was sent, what is not durable yet, what was reported. Runs on the caller's thread, callbacks too."""

    def __init__(
        self,
        source: Iterable[Operation],
        *,
        begin: Any,
        on_outcome: Callable[[IngestOutcome], None] | None,
        on_watermark: Callable[[int, str], None] | None,
        window: int,
        patience: float,
        open_timeout: float,
    ) -> None:
        self.summary = IngestSummary(
            identity=begin.expected_identity, freshness_token=begin.expected_freshness_token
        )
        self._source = iter(source)
        self._begin = begin
        self._begin.run_id = str(uuid.uuid4())
        self._on_outcome, self._on_watermark = on_outcome, on_watermark
        self._window, self._patience, self._open_timeout = window, patience, open_timeout
        self._pending: dict[int, _Pending] = {}
        self._pending_bytes = 0
        self._sequence = 0
        self._exhausted = False

    def run(self, connect: Callable[[Iterator[Any]], Any]) -> IngestSummary:
        """Sends until the source is exhausted and everything is durable."""
        attempt, watermark, stuck_since = 0, 0, None
        while True:
            error = self._over_one_connection(connect)
            if error is None:
                return self.summary
            if not error.retryable:
                raise error
            if self.summary.watermark > watermark or error.reason == "STREAM_IDLE":
                watermark, attempt, stuck_since = self.summary.watermark, 0, None
            attempt += 1
            wait = backoff(attempt, error)
            stuck_since = time.monotonic() if stuck_since is None else stuck_since
            if time.monotonic() + wait - stuck_since > self._patience:
                raise error
            time.sleep(wait)

    def _over_one_connection(self, connect: Callable[[Iterator[Any]], Any]) -> ScalingnoteError | None:
        connection = _Connection()
        connection.open(connect)
        try:
            self._begin.attempt += 1
            self._begin.expected_identity = self.summary.identity
            self._begin.expected_freshness_token = self.summary.freshness_token
            begin = message("IngestRequest")(begin=self._begin)
            connection.outbox.put(begin)
            end = self._receive(connection, self._open_timeout)
            if end is not None:
                return self._verdict(end)
            for pending in list(self._pending.values()):
                connection.outbox.put(pending.message)
            return self._verdict(self._feed(connection))
        finally:
            connection.close()

    def _feed(self, connection: _Connection) -> _End:
        closed = False
        while True:
            full = len(self._pending) >= self._window or self._pending_bytes >= _WINDOW_BYTES
            end = self._receive(connection, self._patience if full or closed else 0)
            if end is not None:
                return end
            if full or closed:
                continue
            found = None if self._exhausted else next(self._source, None)
            if found is None:
                self._exhausted = closed = True
                connection.outbox.put(None)
                continue
            request = self._accept(found)
            if request is not None:
                connection.outbox.put(request)

    def _receive(self, connection: _Connection, timeout: float) -> _End | None:
        """Takes in what has come, and waits for the first of it where there is a timeout."""
        wait = timeout
        while True:
            try:
                event = connection.inbox.get(timeout=wait) if wait > 0 else connection.inbox.get_nowait()
            except queue.Empty:
                if wait <= 0:
                    return None
                text = f"the document service said nothing on the stream within {timeout:g} s"
                return _End(ScalingnoteError(code="UNAVAILABLE", message=text))
            if isinstance(event, _End):
                return event
            self._event(event)
            wait = 0

    def _accept(self, operation: Operation) -> Any | None:
        """The operation's message; None where it can't be sent and was rejected here."""
        given = operation.get("sequence") if hasattr(operation, "get") else None
        next_ = self._sequence + 1
        self._sequence = next_ if given is None else whole(given, "sequence", MAX_EXACT, next_)
        self.summary.sent += 1
        try:
            request = operation_message(self._sequence, operation)
        except ScalingnoteError as error:
            self._report(IngestOutcome(self._sequence, id_of(operation), "rejected", error=error))
            return None
        size = request.ByteSize()
        self._pending[self._sequence] = _Pending(request, size, id_of(operation))
        self._pending_bytes += size
        return request

    def _event(self, response: Any) -> None:
        kind = response.WhichOneof("event")
        if kind == "ready":
            self.summary.identity = response.ready.collection.identity
        elif kind == "outcome":
            outcome = response.outcome
            pending = self._pending.get(outcome.sequence)
            if pending is None or pending.reported:
                return
            pending.reported = True
            error = from_status(outcome.error) if outcome.HasField("error") else None
            name = _KINDS.get(outcome.kind, "rejected")
            counts = (outcome.passages, outcome.encoded_passages)
            # The id as the caller wrote it: the server leaves out an id that it refuses.
            self._report(IngestOutcome(outcome.sequence, pending.id, name, *counts, error))
        elif kind == "watermark":
            self._advance(response.watermark.sequence, response.watermark.freshness_token)

    def _report(self, outcome: IngestOutcome) -> None:
        setattr(self.summary, outcome.kind, getattr(self.summary, outcome.kind) + 1)
        if self._on_outcome is not None:
            self._on_outcome(outcome)

    def _advance(self, watermark: int, token: str) -> None:
        self.summary.freshness_token = token
        for sequence in [each for each in self._pending if each <= watermark]:
            self._pending_bytes -= self._pending.pop(sequence).size
        if watermark > self.summary.watermark:
            self.summary.watermark = watermark
            if self._on_watermark is not None:
                self._on_watermark(watermark, token)

    def _verdict(self, end: _End) -> ScalingnoteError | None:
        if end.error is not None:
            return end.error
        if not self._exhausted or self._pending:
            text = "the document service ended the stream before all was durable"
            return ScalingnoteError(code="UNAVAILABLE", message=text)
        # What was rejected here after the last watermark needs nothing more, as nothing before it does.
        if self._sequence > self.summary.watermark:
            self._advance(self._sequence, self.summary.freshness_token)
        return None
