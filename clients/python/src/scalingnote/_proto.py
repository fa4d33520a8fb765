"""Message classes of the protocol, made from `descriptors.binpb` in a pool of their own."""

from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_pool = descriptor_pool.DescriptorPool()
_set = descriptor_pb2.FileDescriptorSet.FromString(
    files("scalingnote").joinpath("descriptors.binpb").read_bytes()
)
for _file in _set.file:
    _pool.AddSerializedFile(_file.SerializeToString())


def message(name: str) -> Any:
    """The class of a message, by its name within `scalingnote.v1` or by its full name."""
    full = name if "." in name else f"scalingnote.v1.{name}"
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(full))


def method(service: str, name: str) -> tuple[str, Any, Any]:
    """Path, request class and response class of a method."""
    found = _pool.FindServiceByName(f"scalingnote.v1.{service}").FindMethodByName(name)
    path = f"/scalingnote.v1.{service}/{name}"
    return path, message(found.input_type.full_name), message(found.output_type.full_name)
