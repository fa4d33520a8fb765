"""What calls fail with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc

from ._proto import message

_Status = message("google.rpc.Status")
_ErrorInfo = message("google.rpc.ErrorInfo")
_BadRequest = message("google.rpc.BadRequest")
_RetryInfo = message("google.rpc.RetryInfo")

# What gRPC reports when a server or a proxy resets the stream. Our services always give a reason.
_RESET = ("CANCELLED", "INTERNAL")


@dataclass(frozen=True)
class FieldViolation:
    """A field of the request that is wrong."""

    field: str
    description: str


class ScalingnoteError(Exception):
    """What a call failed with. Its message names the field and the fix."""

    def __init__(
        self,
        *,
        code: str,
        message: str,
        reason: str = "",
        violations: tuple[FieldViolation, ...] = (),
        retry_delay: float | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        """Name of the gRPC status, for example `INVALID_ARGUMENT`."""
        self.reason = reason
        """Stable reason, for example `SPACE_MISMATCH`; empty where the transport failed."""
        self.message = message
        self.violations = violations
        """The fields of the request that are wrong."""
        self.retry_delay = retry_delay
        """Shortest wait before the next attempt, in seconds, where the server names one."""
        self.metadata = metadata or {}
        """Values that belong to the reason, for example both fingerprints."""

    @property
    def retryable(self) -> bool:
        """Whether the same call may go through later."""
        if self.code == "RESOURCE_EXHAUSTED":
            # Without a delay, waiting does not help: the disk is full, or the message is too large.
            return self.retry_delay is not None
        return self.code == "UNAVAILABLE" or (self.reason == "" and self.code in _RESET)

    def __str__(self) -> str:
        return f"{self.code}{f' {self.reason}' if self.reason else ''}: {self.message}"


class ArgumentError(ScalingnoteError, TypeError):
    """An argument that a method does not take, or one that it needs and did not get."""


def argument_error(field: str, description: str) -> ArgumentError:
    """The error of an argument's name."""
    return ArgumentError(
        code="INVALID_ARGUMENT",
        reason="INVALID_ARGUMENT",
        message=f"{field}: {description}",
        violations=(FieldViolation(field, description),),
    )


def unavailable(message: str) -> ScalingnoteError:
    """What a server that is away, or says nothing, fails a call with."""
    return ScalingnoteError(code="UNAVAILABLE", message=message)


def client_closed() -> ScalingnoteError:
    """What a client that was closed fails with."""
    text = "the client is closed; make another one"
    return ScalingnoteError(code="FAILED_PRECONDITION", reason="CLIENT_CLOSED", message=text)


def invalid(field: str, description: str) -> ScalingnoteError:
    """The error that the server would return for such a field, without sending it."""
    return ScalingnoteError(
        code="INVALID_ARGUMENT",
        reason="INVALID_ARGUMENT",
        message=f"{field}: {description}",
        violations=(FieldViolation(field, description),),
    )


def from_status(status: Any) -> ScalingnoteError:
    """Converts a google.rpc.Status."""
    found: dict[str, Any] = {}
    for detail in status.details:
        kind = detail.type_url.rpartition("/")[2]
        if kind == "google.rpc.ErrorInfo":
            info = _ErrorInfo.FromString(detail.value)
            found.update(reason=info.reason, metadata=dict(info.metadata))
        elif kind == "google.rpc.BadRequest":
            request = _BadRequest.FromString(detail.value)
            found["violations"] = tuple(
                FieldViolation(each.field, each.description) for each in request.field_violations
            )
        elif kind == "google.rpc.RetryInfo":
            delay = _RetryInfo.FromString(detail.value).retry_delay
            found["retry_delay"] = delay.seconds + delay.nanos / 1e9
    code = next((each.name for each in grpc.StatusCode if each.value[0] == status.code), "UNKNOWN")
    return ScalingnoteError(code=code, message=status.message, **found)


def from_rpc(error: Any) -> ScalingnoteError:
    """Converts an error of grpcio, with the details that the server sent."""
    code, text = error.code().name, error.details() or ""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            try:
                rich = from_status(_Status.FromString(value))
            except Exception:  # Details are optional: where they are damaged, the status still counts.
                break
            rich.code, rich.message = code, text
            return rich
    # The services answer with this reason as well, where the time is over on their side.
    reason = code if code == "DEADLINE_EXCEEDED" else ""
    return ScalingnoteError(code=code, reason=reason, message=text)
