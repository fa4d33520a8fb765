"""What both clients without asyncio have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ._channel import settings_of
from ._requests import Plan
from ._servers import Servers

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from .types import ClientOptions

T = TypeVar("T")


class ServiceClient:
    """A client of one service. It holds a connection to each server; close it when done, or use it in a `with`."""

    _service: str
    _default_address: str

    def __init__(self, address: str | None = None, **options: Unpack[ClientOptions]) -> None:
        """`address` is `host:port` of the service; `types.ClientOptions` has what else there is."""
        given: dict[str, Any] = dict(options)
        self._servers = Servers(settings_of(self._default_address, address, given))

    def _call(self, plan: Plan[T]) -> T:
        return self._servers.call(self._service, plan)

    def close(self) -> None:
        """Ends the connections and every call on them."""
        self._servers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
