"""Turns what callers give into what the wire has, or refuses it by name."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from .errors import argument_error, invalid

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MAX_EXACT = 2**53 - 1
MAX_UINT32 = 2**32 - 1
MAX_FLOAT32 = 3.4028234663852886e38
# The document service allows as much; beyond, Python's own recursion would end first.
MAX_DEPTH = 32
# Metadata take 64 KiB as JSON, where a value is a character and a comma at least.
MAX_VALUES = 65_536
# 24 days: the longest timer that the services and the TypeScript client have.
MAX_TIMEOUT = (2**31 - 1) / 1000


def text(value: Any, field: str) -> str:
    """A string that UTF-8 can carry."""
    if not isinstance(value, str):
        raise invalid(field, f"must be a string, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise invalid(field, "holds half a surrogate pair, which UTF-8 can't carry") from None
    return value


def token(value: Any, field: str) -> str:
    """On the wire, no token is an empty one: a caller whose token is empty by mistake would get any answer."""
    if value == "":
        raise invalid(field, "is empty; give the token, or leave it out to take what is there")
    return text(value, field)


def whole(value: Any, field: str, highest: int = MAX_UINT32, lowest: int = 0) -> int:
    """A whole number in a range."""
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise invalid(field, f"is {value!r}, but must be a whole number from {lowest} to {highest}")
    return value


def number(value: Any, field: str) -> float:
    """A finite number that a double holds exactly."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise invalid(field, f"is {value!r}, but must be a number")
    if isinstance(value, int) and abs(value) > MAX_EXACT:
        raise invalid(field, f"is {value}, beyond 2^53 - 1, where numbers are not exact; keep it as text")
    if not math.isfinite(value):
        raise invalid(field, f"is {value}, but must be a finite number")
    return float(value)


def float32(value: Any, field: str) -> float:
    """A number that a float32 holds."""
    number_ = number(value, field)
    if abs(number_) > MAX_FLOAT32:
        raise invalid(field, f"is {value}, beyond what a float32 holds")
    return number_


def flag(value: Any, field: str) -> bool:
    """True or False; a string "false" is neither."""
    if not isinstance(value, bool):
        raise invalid(field, f"is {value!r}, but must be True or False")
    return value


def choice(value: Any, field: str, choices: Iterable[str]) -> str:
    """One of some words."""
    choices = list(choices)
    if not isinstance(value, str) or value not in choices:
        raise invalid(field, f"is {value!r}, but must be one of {', '.join(choices)}{nearest(value, choices)}")
    return value


def seconds(value: Any, field: str = "timeout") -> float:
    """A time span that a timer can wait for."""
    number_ = number(value, field)
    if not 0 <= number_ <= MAX_TIMEOUT:
        raise invalid(field, f"is {value!r}, but must be from 0 to {MAX_TIMEOUT:.0f} seconds (24 days)")
    return number_


def nearest(key: Any, known: Iterable[str]) -> str:
    """A hint at the right word; empty where none is near."""
    plain = {each.replace("_", "").lower(): each for each in known}
    wanted = str(key).replace("_", "").lower()
    close = difflib.get_close_matches(wanted, plain, n=1, cutoff=0.6)
    if not close:
        close = [each for each in plain if len(wanted) > 2 and (each.startswith(wanted) or wanted.startswith(each))]
    return f'; did you mean "{plain[close[0]]}"?' if close else ""


def arguments(given: Mapping[str, Any], form: Any) -> dict[str, Any]:
    """The arguments of a method whose names a TypedDict has. Raises ArgumentError for a name that it does not have.

    None is as good as leaving an argument out.
    """
    known = [*sorted(form.__required_keys__), *sorted(form.__optional_keys__)]
    for name in given:
        if name not in known:
            raise argument_error(name, f"is unknown; known are {', '.join(known)}{nearest(name, known)}")
    found = {name: value for name, value in given.items() if value is not None}
    for name in sorted(form.__required_keys__):
        if name not in found:
            raise argument_error(name, "is missing")
    return found


_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]*)?"
)


def traceparent(value: Any, field: str = "traceparent") -> str:
    """A W3C trace context, or an empty text for none."""
    if value != "" and not _TRACEPARENT.fullmatch(text(value, field)):
        example = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        raise invalid(field, f'is {value!r}; give a W3C trace context, such as "{example}"')
    return str(value)


def call_metadata(value: Any, field: str = "metadata") -> tuple[tuple[str, str | bytes], ...]:
    """What a call carries besides its message: keys in lower case, with printable ASCII or (`-bin`) bytes."""
    if not isinstance(value, Mapping):
        raise invalid(field, f"must be a dict, not {type(value).__name__}")
    for key, item in value.items():
        at = f"{field}.{key}"
        if not isinstance(key, str) or not re.fullmatch("[0-9a-z_.-]+", key) or key.startswith("grpc-"):
            raise invalid(at, 'is no key; write a-z, 0-9, "_", "-" and "." that does not begin with "grpc-"')
        if key.endswith("-bin"):
            if not isinstance(item, bytes):
                raise invalid(at, f"is {item!r}; a key that ends with \"-bin\" carries bytes")
        elif not isinstance(item, str) or not re.fullmatch("[ -~]*", item):
            raise invalid(at, "must be printable ASCII without line breaks")
    return tuple(value.items())


def texts(value: Any, field: str) -> list[str]:
    """Several strings; a lone one is refused, or each of its letters would be one."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise invalid(field, f"must be a list of strings, not {type(value).__name__}")
    return [text(each, f"{field}[{index}]") for index, each in enumerate(value)]


def callback(value: Any, field: str) -> Any:
    """A function, or None."""
    if value is not None and not callable(value):
        raise invalid(field, f"is {value!r}; give a function")
    return value


def known_keys(value: Any, field: str, known: Iterable[str]) -> Mapping[str, Any]:
    """A dict with no key that we do not know."""
    known = list(known)
    if not isinstance(value, Mapping):
        of = f"must be a dict with {', '.join(known)}, not {type(value).__name__}"
        raise invalid(field or "operation", of)
    for key in value:
        if key not in known:
            raise invalid(f"{field}.{key}" if field else str(key), f"is unknown; known are {', '.join(known)}{nearest(key, known)}")
    return value


class _Budget:
    """Values that may still come: a list that holds another one many times over grows by powers."""

    left = MAX_VALUES

    def take(self, field: str) -> None:
        self.left -= 1
        if self.left < 0:
            raise invalid(field, f"comes after {MAX_VALUES} values; metadata take 64 KiB")


def set_value(target: Any, value: Any, field: str, depth: int = 1, budget: _Budget | None = None) -> None:
    """Writes a JSON value into a google.protobuf.Value."""
    budget = budget or _Budget()
    budget.take(field)
    if value is None:
        target.null_value = 0
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, (int, float)):
        target.number_value = number(value, field)
    elif isinstance(value, str):
        target.string_value = text(value, field)
    elif isinstance(value, Mapping):
        set_struct(target.struct_value, value, field, depth, budget)
    elif isinstance(value, (list, tuple)):
        _require_depth(field, depth)
        target.list_value.SetInParent()
        for index, item in enumerate(value):
            set_value(target.list_value.values.add(), item, f"{field}[{index}]", depth + 1, budget)
    else:
        raise invalid(field, f"is {type(value).__name__}, which JSON can't write")


def set_struct(target: Any, value: Any, field: str, depth: int = 1, budget: _Budget | None = None) -> None:
    """Writes a dict into a google.protobuf.Struct."""
    if not isinstance(value, Mapping):
        raise invalid(field, f"must be a dict, not {type(value).__name__}")
    _require_depth(field, depth)
    budget = budget or _Budget()
    target.SetInParent()
    for key, item in value.items():
        set_value(target.fields[text(key, f"a key of {field}")], item, f"{field}.{key}", depth + 1, budget)


def _require_depth(field: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise invalid(field, f"is nested more than {MAX_DEPTH} levels deep")


def from_value(value: Any) -> Any:
    """A google.protobuf.Value as Python has it; whole numbers are ints."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return from_struct(value.struct_value)
    if kind == "list_value":
        return [from_value(item) for item in value.list_value.values]
    if kind in (None, "null_value"):
        return None
    plain = getattr(value, kind)
    return int(plain) if kind == "number_value" and plain.is_integer() and abs(plain) <= MAX_EXACT else plain


def from_struct(value: Any) -> dict[str, Any]:
    """A google.protobuf.Struct as a dict."""
    return {key: from_value(item) for key, item in value.fields.items()}


def set_moment(target: Any, value: Any, field: str) -> None:
    """Writes a datetime into a google.protobuf.Timestamp, to the millisecond."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise invalid(field, "must be a datetime with a time zone, such as datetime.now(timezone.utc)")
    millis = (value - _EPOCH) // timedelta(milliseconds=1)
    target.seconds, rest = divmod(millis, 1000)
    target.nanos = rest * 1_000_000


def from_moment(value: Any) -> datetime:
    """A google.protobuf.Timestamp in UTC, to the millisecond."""
    return _EPOCH + timedelta(seconds=value.seconds, milliseconds=value.nanos // 1_000_000)
