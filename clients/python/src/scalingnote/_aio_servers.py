"""The servers of an asyncio client: which there are, how they are, and which one is next."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any, TypeVar

import grpc
import grpc.aio

from ._channel import Settings
from ._proto import method
from ._requests import Headers, Plan
from ._retries import Retries, RetryBudget
from ._servers import CHECK_TIMEOUT, HEALTH_PATH, SUSPECT_AFTER, serialize, time_left
from .errors import ScalingnoteError, client_closed, from_rpc, invalid, unavailable

T = TypeVar("T")

_DOWN = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN)
# How often waiting calls look whether a server is connected.
_LOOK_EVERY = 0.02


class AsyncServer:
    """A connection to one server."""

    def __init__(self, address: str, settings: Settings) -> None:
        self.address = address
        options = settings.options_of(address)
        self.channel: Any = (
            grpc.aio.insecure_channel(address, options)
            if settings.credentials.channel is None
            else grpc.aio.secure_channel(address, settings.credentials.channel, options)
        )
        # Whether it answers nothing at all, and when we asked.
        self.is_mute = False
        self._checked_at = -CHECK_TIMEOUT
        self._check: asyncio.Task[None] | None = None
        self._unary: dict[tuple[str, str], Any] = {}

    def unary(self, service: str, name: str) -> Any:
        """What makes the calls of such a method over this connection."""
        found = self._unary.get((service, name))
        if found is None:
            path, read = method(service, name)
            found = self.channel.unary_unary(path, request_serializer=serialize, response_deserializer=read)
            self._unary[service, name] = found
        return found

    def connect(self) -> Any:
        return self.channel.get_state(try_to_connect=True)

    @property
    def is_ready(self) -> bool:
        ready: bool = self.channel.get_state() == grpc.ChannelConnectivity.READY
        return ready and not self.is_mute

    @property
    def is_down(self) -> bool:
        return self.is_mute or self.connect() in _DOWN

    async def answers(self) -> bool:
        """Asks the server how it is, unless that is known from a moment ago. Any answer shows that it lives."""
        self.check_again(even_if_well=True)
        if self._check is not None:
            await asyncio.shield(self._check)
        return not self.is_mute

    def check_again(self, *, even_if_well: bool = False) -> None:
        """Asks a server that had stopped to answer again, in the background."""
        is_due = self._check is None and time.monotonic() - self._checked_at >= CHECK_TIMEOUT
        if is_due and (self.is_mute or even_if_well):
            self._check = asyncio.ensure_future(self._ask())

    async def _ask(self) -> None:
        try:
            await self.channel.unary_unary(HEALTH_PATH)(b"", timeout=CHECK_TIMEOUT)
            self.is_mute = False
        except grpc.aio.AioRpcError as error:
            self.is_mute = error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        except (asyncio.CancelledError, grpc.aio.UsageError):
            self.is_mute = False  # The client was closed meanwhile.
        finally:
            self._checked_at = time.monotonic()
            self._check = None


class AsyncServers:
    """All servers of a client, and the calls to them. They belong to the event loop that first uses them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.budget = RetryBudget()
        self._servers: list[AsyncServer] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn = random.randrange(len(settings.addresses))
        self._is_closed = False

    async def close(self) -> None:
        self._is_closed = True
        servers, self._servers = self._servers, []
        for server in servers:
            await server.channel.close(None)

    def check_open(self) -> None:
        if self._is_closed:
            raise client_closed()

    def _open(self) -> list[AsyncServer]:
        self.check_open()
        loop = asyncio.get_running_loop()
        if self._loop is None:
            # Here, because a channel belongs to the event loop that it is made in.
            self._loop = loop
            self._servers = [AsyncServer(address, self.settings) for address in self.settings.addresses]
        elif self._loop is not loop:
            raise invalid("client", "belongs to another event loop; make one inside each asyncio.run()")
        return self._servers

    async def pick(self, deadline: float, avoid: AsyncServer | None = None) -> AsyncServer:
        """The server that the next call goes to: one that is connected and serves, in turn, if there is any."""
        servers = self._open()
        if len(servers) == 1:
            return servers[0]
        # Waits while all that are not connected may still be.
        while not self._any_ready() and not all([each.is_down for each in servers]):
            if time.monotonic() >= deadline:
                break
            await asyncio.sleep(_LOOK_EVERY)
            self.check_open()
        for each in servers:
            each.connect()
            each.check_again()
        self._turn += 1
        order = [servers[(self._turn + step) % len(servers)] for step in range(len(servers))]
        return min(order, key=lambda each: (not each.is_ready, each.is_mute, each is avoid))

    def retries(self, deadline: float, *, is_once: bool = False) -> Retries:
        attempts = 1 if is_once else self.settings.attempts
        wait_for_ready = self.settings.wait_for_ready
        return Retries(self.budget, attempts=attempts, wait_for_ready=wait_for_ready, deadline=deadline)

    async def before_retry(self, retries: Retries, error: ScalingnoteError, server: AsyncServer) -> None:
        """Waits until a call may be made again. Raises the error where it may not."""
        if error.reason == "" and server.is_ready:
            # gRPC says a little later how the connection is than that a call failed.
            await asyncio.sleep(_LOOK_EVERY)
        wait = retries.next(
            error,
            any_ready=self._any_ready(),
            other_ready=self._any_ready(server),
            same_ready=server.is_ready,
        )
        if wait is None or (wait.until_ready and not await self._until_ready(retries.deadline)):
            try:
                raise error
            finally:
                # The error knows this frame: if the frame knew the error, only the garbage collector could free both.
                del error
        if wait.seconds > 0:
            await asyncio.sleep(wait.seconds)
        self.check_open()

    async def call(self, service: str, plan: Plan[T]) -> T:
        """Makes a unary call, and repeats it while the servers are away or overloaded and the deadline allows."""
        timeout = self.settings.timeout if plan.bounds.timeout is None else plan.bounds.timeout
        deadline = time.monotonic() + timeout
        retries = self.retries(deadline, is_once=plan.is_once)
        server: AsyncServer | None = None
        while True:
            server = await self.pick(deadline, server)
            try:
                return plan.convert(await self._attempt(server, service, plan, deadline))
            except grpc.aio.AioRpcError as error:
                self.check_open()
                await self.before_retry(retries, from_rpc(error), server)
            except ScalingnoteError as error:
                await self.before_retry(retries, error, server)

    async def _attempt(self, server: AsyncServer, service: str, plan: Plan[T], deadline: float) -> Any:
        start = server.unary(service, plan.method)
        timeout = time_left(deadline)
        call = start(plan.request, timeout=timeout, metadata=self.metadata(plan.bounds.metadata))
        try:
            if len(self._servers) == 1 or plan.is_once:
                return await call
            answer = asyncio.ensure_future(_awaited(call))
            while not (await asyncio.wait({answer}, timeout=SUSPECT_AFTER))[0]:
                if self._any_ready(server) and not await server.answers() and not answer.done():
                    answer.cancel()
                    raise unavailable(f"{server.address} has stopped to answer")
            return answer.result()
        except asyncio.CancelledError:
            call.cancel()
            # Closing the client cancels its calls, too.
            self.check_open()
            raise

    def metadata(self, own: Headers) -> Headers:
        """What a call carries: the client's, and its own."""
        return (*self.settings.credentials.headers(), *self.settings.metadata, *own)

    def _any_ready(self, but: AsyncServer | None = None) -> bool:
        return any(each.is_ready for each in self._servers if each is not but)

    async def _until_ready(self, deadline: float) -> bool:
        while not self._any_ready():
            if time.monotonic() >= deadline or self._is_closed:
                return False
            for server in self._servers:
                server.connect()
                server.check_again()
            await asyncio.sleep(_LOOK_EVERY)
        return True


async def _awaited(call: Any) -> Any:
    return await call
