"""Message classes of the protocol, made from `descriptors.binpb` in a pool of their own.

protobuf itself keeps no class alive: one that nobody holds is garbage, and is made again at the next use. It finds classes
by a map that does not hold them, so one that the garbage collector takes apart must not be asked for meanwhile. Nobody
need rely on that here: every class is made once, and is held for good.
"""

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_pool = descriptor_pool.DescriptorPool()
_classes: dict[str, Any] = {}


def _hold(descriptor: Any) -> None:
    _classes[descriptor.full_name] = message_factory.GetMessageClass(descriptor)
    for nested in descriptor.nested_types:
        _hold(nested)


_set = descriptor_pb2.FileDescriptorSet.FromString(
    files("scalingnote").joinpath("descriptors.binpb").read_bytes()
)
for _file in _set.file:
    _pool.AddSerializedFile(_file.SerializeToString())
for _file in _set.file:
    for _each in _pool.FindFileByName(_file.name).message_types_by_name.values():
        _hold(_each)


def message(name: str) -> Any:
    """The class of a message, by its name within `scalingnote.v1` or by its full name."""
    return _classes[name if "." in name else f"scalingnote.v1.{name}"]


@cache
def method(service: str, name: str) -> tuple[str, Callable[[bytes], Any]]:
    """The path of a method, and what reads its response."""
    found = _pool.FindServiceByName(f"scalingnote.v1.{service}").FindMethodByName(name)
    return f"/scalingnote.v1.{service}/{name}", message(found.output_type.full_name).FromString
