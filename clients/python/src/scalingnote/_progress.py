"""An ingest over all its connections, whatever carries the messages: what was sent, what is not durable yet, what was
reported."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ._operations import id_of, operation_message
from ._proto import message
from ._requests import Headers, bounds_of
from ._retries import backoff
from ._values import MAX_EXACT, arguments, callback, flag, seconds, text, token, whole
from .answers import Checkpoint, IngestOutcome, IngestSummary, OutcomeKind
from .errors import ScalingnoteError, from_status, invalid, unavailable
from .types import IngestOptions, TextAnalysis

# Several of the server's batches, so that the server never waits for the client.
DEFAULT_WINDOW = 1024
# More would only take memory: 32 MiB are the other bound.
_MAX_WINDOW = 1_000_000
# Bytes that may wait for a watermark: documents differ in size by a factor of a million.
_WINDOW_BYTES = 32 * 1024 * 1024
# Five minutes: longer than it takes to replace a server, or to load a large tower.
DEFAULT_PATIENCE = 300.0
_KEPT_REJECTIONS = 100

_KINDS: dict[int, OutcomeKind] = {1: "indexed", 2: "unchanged", 3: "deleted"}

Notice = Callable[[], Any]
"""A callback of the caller's, with what it is called with."""


@dataclass(frozen=True)
class Callbacks:
    """What the caller wants to hear of."""

    on_outcome: Callable[[IngestOutcome], Any] | None = None
    on_checkpoint: Callable[[Checkpoint], Any] | None = None
    on_reconnect: Callable[[ScalingnoteError, float], Any] | None = None

    def check(self) -> Callbacks:
        for name in ("on_outcome", "on_checkpoint", "on_reconnect"):
            callback(getattr(self, name), name)
        return self


@dataclass
class _Pending:
    message: Any
    size: int
    id: str
    reported: bool = False


class Patience:
    """How long to go on without progress."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._attempt = 0
        self._stuck_since: float | None = None

    def progressed(self) -> None:
        self._attempt, self._stuck_since = 0, None

    def next(self, error: ScalingnoteError) -> float:
        """The wait before the next attempt. Raises the error where there is none."""
        if not error.retryable:
            raise error
        self._attempt += 1
        wait = backoff(self._attempt, error)
        now = time.monotonic()
        self._stuck_since = now if self._stuck_since is None else self._stuck_since
        if now + wait - self._stuck_since > self._limit:
            raise error
        return wait


def _analysis_message(given: Any) -> Any:
    if not isinstance(given, Mapping):
        raise invalid("analysis", f"is {type(given).__name__}; give a dict with language or keep_diacritics")
    wanted = arguments(given, TextAnalysis)
    return message("TextAnalysis")(
        language=text(wanted.get("language", ""), "analysis.language"),
        keep_diacritics=flag(wanted.get("keep_diacritics", False), "analysis.keep_diacritics"),
    )


class Progress:
    """The state over all connections. Methods return the callbacks to make."""

    def __init__(self, options: Mapping[str, Any], resume: Any, callbacks: Callbacks) -> None:
        given = arguments(options, IngestOptions)
        self._begin = message("IngestBegin")(
            collection=text(given["collection"], "collection"),
            tenant=text(given.get("tenant", ""), "tenant"),
            omit_text=flag(given.get("omit_text", False), "omit_text"),
            bulk=flag(given.get("bulk", False), "bulk"),
            run_id=str(uuid.uuid4()),
        )
        if "analysis" in given:
            self._begin.analysis.CopyFrom(_analysis_message(given["analysis"]))
        self._window = whole(given.get("window", DEFAULT_WINDOW), "window", _MAX_WINDOW, 1)
        self.patience_seconds = seconds(given.get("patience", DEFAULT_PATIENCE), "patience")
        self.patience = Patience(self.patience_seconds)
        self.metadata: Headers = bounds_of(given).metadata
        self.callbacks = callbacks.check()
        self.summary = IngestSummary()
        if resume is not None:
            if not isinstance(resume, Checkpoint):
                raise invalid("resume", f"is {type(resume).__name__}; give a Checkpoint, as on_checkpoint had it")
            self.summary.watermark = whole(resume.sequence, "resume.sequence", MAX_EXACT, 0)
            self.summary.identity = token(resume.identity, "resume.identity")
            self.summary.freshness_token = text(resume.freshness_token, "resume.freshness_token")
        self._skip_to = self.summary.watermark
        self._pending: dict[int, _Pending] = {}
        self._pending_bytes = 0
        self._sequence = 0
        self._seen = self.summary.watermark
        self.exhausted = False

    def begin(self) -> Any:
        """The message that opens the next connection."""
        self._begin.attempt += 1
        self._begin.expected_identity = self.summary.identity
        self._begin.expected_freshness_token = self.summary.freshness_token
        return message("IngestRequest")(begin=self._begin)

    def unfinished(self) -> list[Any]:
        """What the next connection has to carry again."""
        return [pending.message for pending in self._pending.values()]

    @property
    def is_waiting(self) -> bool:
        """Whether the server owes a watermark, or the end of the stream."""
        return bool(self._pending) or self.exhausted

    @property
    def is_full(self) -> bool:
        return len(self._pending) >= self._window or self._pending_bytes >= _WINDOW_BYTES

    def accept(self, operation: Any) -> tuple[Any | None, list[Notice]]:
        """The operation's message; None where it is durable already, or can't be sent and was rejected here."""
        given = operation.get("sequence") if isinstance(operation, Mapping) else None
        next_ = self._sequence + 1
        self._sequence = next_ if given is None else whole(given, "sequence", MAX_EXACT, next_)
        if self._sequence <= self._skip_to:
            self.summary.skipped += 1
            return None, []
        self.summary.sent += 1
        try:
            request = operation_message(self._sequence, operation)
        except ScalingnoteError as error:
            return None, self._report(IngestOutcome(self._sequence, id_of(operation), "rejected", error=error))
        size = request.ByteSize()
        self._pending[self._sequence] = _Pending(request, size, id_of(operation))
        self._pending_bytes += size
        return request, []

    def receive(self, response: Any) -> list[Notice]:
        """Takes in what the server said."""
        kind = response.WhichOneof("event")
        if kind == "ready":
            self.summary.identity = response.ready.collection.identity
        elif kind == "outcome":
            outcome = response.outcome
            pending = self._pending.get(outcome.sequence)
            if pending is not None and not pending.reported:
                pending.reported = True
                error = from_status(outcome.error) if outcome.HasField("error") else None
                name = _KINDS.get(outcome.kind, "rejected")
                counts = (outcome.passages, outcome.encoded_passages)
                # The id as the caller wrote it: the server leaves out an id that it refuses.
                return self._report(IngestOutcome(outcome.sequence, pending.id, name, *counts, error))
        elif kind == "watermark":
            return self._advance(response.watermark.sequence, response.watermark.freshness_token)
        return []

    def ended(self, error: ScalingnoteError | None) -> tuple[ScalingnoteError | None, list[Notice]]:
        """What the end of a connection means; no error where all is done."""
        if self.summary.watermark > self._seen or (error is not None and error.reason == "STREAM_IDLE"):
            self._seen = self.summary.watermark
            self.patience.progressed()
        if error is not None:
            return error, []
        if not self.exhausted or self._pending:
            return unavailable("the document service ended the stream before all was durable"), []
        # What was rejected here after the last watermark needs nothing more, as nothing before it does.
        return None, self._advance(self._sequence, self.summary.freshness_token)

    def silent(self, limit: float) -> ScalingnoteError:
        """A server that says nothing."""
        return unavailable(f"the document service said nothing on the stream within {limit:g} s")

    def _report(self, outcome: IngestOutcome) -> list[Notice]:
        summary = self.summary
        setattr(summary, outcome.kind, getattr(summary, outcome.kind) + 1)
        if outcome.kind == "rejected" and len(summary.rejections) < _KEPT_REJECTIONS:
            summary.rejections.append(outcome)
        return [] if self.callbacks.on_outcome is None else [partial(self.callbacks.on_outcome, outcome)]

    def _advance(self, watermark: int, freshness_token: str) -> list[Notice]:
        self.summary.freshness_token = freshness_token
        while self._pending:
            sequence = next(iter(self._pending))
            if sequence > watermark:
                break
            self._pending_bytes -= self._pending.pop(sequence).size
        if watermark <= self.summary.watermark:
            return []
        self.summary.watermark = watermark
        if self.callbacks.on_checkpoint is None:
            return []
        checkpoint = Checkpoint(watermark, self.summary.identity, freshness_token)
        return [partial(self.callbacks.on_checkpoint, checkpoint)]


def require_source(source: Any, *kinds: Any) -> None:
    """Refuses what is no series of operations."""
    if isinstance(source, (str, bytes, Mapping)) or not isinstance(source, kinds):
        raise invalid("source", f"must be an iterable of operations, not {type(source).__name__}")
