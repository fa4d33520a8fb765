"""Operations of an ingest: `{"id": ..., "text": ...}`, `{"delete": ID}`, `{"patch": ID, "set": {...}}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._proto import message
from ._values import MAX_EXACT, known_keys, set_moment, set_struct, text, whole
from .errors import invalid
from .types import DeleteInput, DocumentInput, PatchInput

_Request = message("IngestRequest")
# The document service takes messages of up to 64 MiB, and a larger one would end the stream for all others.
MAX_OPERATION_BYTES = 32 * 1024 * 1024


def _keys(form: Any) -> list[str]:
    return [*sorted(form.__required_keys__), *sorted(form.__optional_keys__)]


_DOCUMENT, _DELETE, _PATCH = (_keys(form) for form in (DocumentInput, DeleteInput, PatchInput))


def id_of(operation: Any) -> str:
    """Which document an operation is about, as its caller wrote it; empty where that can't be told."""
    if not isinstance(operation, Mapping):
        return ""
    for key in ("delete", "patch", "id"):
        if key in operation:
            return str(operation[key])
    return ""


def operation_message(sequence: int, operation: Any) -> Any:
    """An operation as a message. Raises ScalingnoteError INVALID_ARGUMENT for what can't be sent."""
    request = _Request(sequence=sequence)
    if isinstance(operation, Mapping) and "delete" in operation:
        known_keys(operation, "", _DELETE)
        target = request.delete
        target.id = text(operation["delete"], "id")
    elif isinstance(operation, Mapping) and "patch" in operation:
        known_keys(operation, "", _PATCH)
        target = request.patch
        target.id = text(operation["patch"], "id")
        set_struct(target.set, operation.get("set", {}), "set")
        remove = operation.get("remove", ())
        if not isinstance(remove, (list, tuple)):
            raise invalid("remove", f"must be a list of keys, not {type(remove).__name__}")
        target.remove.extend(text(key, f"remove[{index}]") for index, key in enumerate(remove))
    else:
        known_keys(operation, "", _DOCUMENT)
        target = request.document
        if "id" not in operation:
            raise invalid("id", "is missing")
        for key in ("id", "title", "text", "traceparent"):
            setattr(target, key, text(operation.get(key, ""), key))
        if operation.get("metadata") is not None:
            set_struct(target.metadata, operation["metadata"], "metadata")
        if operation.get("expires_at") is not None:
            set_moment(target.expires_at, operation["expires_at"], "expires_at")
    target.SetInParent()
    target.version = whole(operation.get("version", 0), "version", MAX_EXACT)
    size = request.ByteSize()
    if size > MAX_OPERATION_BYTES:
        raise invalid("document", f"has {size} bytes, and a message takes {MAX_OPERATION_BYTES}; split it")
    return request
