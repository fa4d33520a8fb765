"""The servers of a client without asyncio: which there are, how they are, and which one is next."""

from __future__ import annotations

import random
import threading
import time
from typing import Any, TypeVar

import grpc

from ._channel import Settings
from ._proto import method
from ._requests import Headers, Plan
from ._retries import Retries, RetryBudget
from .errors import ScalingnoteError, client_closed, from_rpc, unavailable

T = TypeVar("T")

# A call that waits longer than this makes us ask whether its server still answers anything at all.
SUSPECT_AFTER = 0.5
# A server that does not answer a health check in this time has stopped.
CHECK_TIMEOUT = 1.0
HEALTH_PATH = "/grpc.health.v1.Health/Check"

_DOWN = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN)


def serialize(request: Any) -> bytes:
    """A message as bytes."""
    data: bytes = request.SerializeToString()
    return data


def time_left(deadline: float) -> float:
    """Seconds until a deadline. Raises ScalingnoteError DEADLINE_EXCEEDED where there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        text = "the timeout is over before the call was made"
        raise ScalingnoteError(code="DEADLINE_EXCEEDED", reason="DEADLINE_EXCEEDED", message=text)
    return left


class Server:
    """A connection to one server."""

    def __init__(self, address: str, settings: Settings, changed: threading.Condition) -> None:
        self.address = address
        options = settings.options_of(address)
        self.channel: Any = (
            grpc.insecure_channel(address, options)
            if settings.credentials.channel is None
            else grpc.secure_channel(address, settings.credentials.channel, options)
        )
        self._changed = changed
        self._state: Any = grpc.ChannelConnectivity.IDLE
        self._is_watched = False
        # Whether it answers nothing at all, and when we asked.
        self.is_mute = False
        self._checked_at = -CHECK_TIMEOUT
        self._checking = threading.Lock()
        self._unary: dict[tuple[str, str], Any] = {}

    def unary(self, service: str, name: str) -> Any:
        """What makes the calls of such a method over this connection."""
        found = self._unary.get((service, name))
        if found is None:
            path, read = method(service, name)
            found = self.channel.unary_unary(path, request_serializer=serialize, response_deserializer=read)
            self._unary[service, name] = found
        return found

    @property
    def is_ready(self) -> bool:
        return self._state == grpc.ChannelConnectivity.READY and not self.is_mute

    @property
    def is_down(self) -> bool:
        return self._state in _DOWN or self.is_mute

    def watch(self) -> None:
        """Learns from now on how the connection is. gRPC takes a thread for that, so one server alone has it late."""
        with self._changed:
            if self._is_watched:
                return
            self._is_watched = True
        try:
            self.channel.subscribe(self._notice, try_to_connect=True)
        except ValueError:
            pass  # The client was closed meanwhile.

    def close(self) -> None:
        if self._is_watched:
            self.channel.unsubscribe(self._notice)
        self.channel.close()

    def _notice(self, state: Any) -> None:
        with self._changed:
            self._state = state
            self._changed.notify_all()

    def answers(self) -> bool:
        """Asks the server how it is, unless that is known from a moment ago. Any answer shows that it lives."""
        with self._checking:
            if time.monotonic() - self._checked_at >= CHECK_TIMEOUT:
                try:
                    self.channel.unary_unary(HEALTH_PATH)(b"", timeout=CHECK_TIMEOUT)
                    self.is_mute = False
                except grpc.RpcError as error:
                    # The channel's keepalive finds a stopped peer, too, but later than callers wait.
                    self.is_mute = error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
                except ValueError:
                    self.is_mute = False  # The client was closed meanwhile.
                self._checked_at = time.monotonic()
            return not self.is_mute

    def check_again(self) -> None:
        """Asks a server that had stopped to answer again, in the background."""
        if self.is_mute and time.monotonic() - self._checked_at >= CHECK_TIMEOUT and not self._checking.locked():
            threading.Thread(target=self.answers, daemon=True, name="scalingnote-check").start()


class Servers:
    """All servers of a client, and the calls to them. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.budget = RetryBudget()
        self._changed = threading.Condition()
        self._servers = [Server(address, settings, self._changed) for address in settings.addresses]
        self._turn = random.randrange(len(self._servers))
        self._is_closed = False

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for server in self._servers:
            server.close()

    def check_open(self) -> None:
        if self._is_closed:
            raise client_closed()

    def pick(self, deadline: float, avoid: Server | None = None) -> Server:
        """The server that the next call goes to: one that is connected and serves, in turn, if there is any."""
        self.check_open()
        if len(self._servers) == 1:
            return self._servers[0]
        for each in self._servers:
            each.watch()
        with self._changed:
            # Waits while all that are not connected may still be.
            while not self._any_ready() and not all(each.is_down for each in self._servers):
                left = deadline - time.monotonic()
                if left <= 0 or self._is_closed:
                    break
                self._changed.wait(min(left, 0.2))
            self.check_open()
            for each in self._servers:
                each.check_again()
            self._turn += 1
            count = len(self._servers)
            order = [self._servers[(self._turn + step) % count] for step in range(count)]
            return min(order, key=lambda each: (not each.is_ready, each.is_mute, each is avoid))

    def retries(self, deadline: float, *, is_once: bool = False) -> Retries:
        attempts = 1 if is_once else self.settings.attempts
        wait_for_ready = self.settings.wait_for_ready
        return Retries(self.budget, attempts=attempts, wait_for_ready=wait_for_ready, deadline=deadline)

    def before_retry(self, retries: Retries, error: ScalingnoteError, server: Server) -> None:
        """Waits until a call may be made again. Raises the error where it may not."""
        if error.reason == "":
            # gRPC says a little later how the connection is than that a call failed.
            self._settle(server)
        wait = retries.next(
            error,
            any_ready=self._any_ready(),
            other_ready=any(each.is_ready for each in self._servers if each is not server),
            same_ready=server.is_ready,
        )
        if wait is None or (wait.until_ready and not self._until_ready(retries.deadline)):
            try:
                raise error
            finally:
                # The error knows this frame: if the frame knew the error, only the garbage collector could free both.
                del error
        if wait.seconds > 0:
            time.sleep(wait.seconds)
        self.check_open()

    def call(self, service: str, plan: Plan[T]) -> T:
        """Makes a unary call, and repeats it while the servers are away or overloaded and the deadline allows."""
        timeout = self.settings.timeout if plan.bounds.timeout is None else plan.bounds.timeout
        deadline = time.monotonic() + timeout
        retries = self.retries(deadline, is_once=plan.is_once)
        server: Server | None = None
        while True:
            server = self.pick(deadline, server)
            try:
                return plan.convert(self._attempt(server, service, plan, deadline))
            except grpc.RpcError as error:
                self.check_open()
                self.before_retry(retries, from_rpc(error), server)
            except ScalingnoteError as error:
                self.before_retry(retries, error, server)

    def _attempt(self, server: Server, service: str, plan: Plan[T], deadline: float) -> Any:
        call = server.unary(service, plan.method)
        metadata = self.metadata(plan.bounds.metadata)
        timeout = time_left(deadline)
        try:
            if len(self._servers) == 1 or plan.is_once:
                return call(plan.request, timeout=timeout, metadata=metadata)
            future = call.future(plan.request, timeout=timeout, metadata=metadata)
        except ValueError:
            # What gRPC raises for a channel that was closed.
            self.check_open()
            raise
        while True:
            try:
                return future.result(timeout=SUSPECT_AFTER)
            except grpc.FutureTimeoutError:
                if self._any_ready(server) and not server.answers() and not future.done():
                    future.cancel()
                    raise unavailable(f"{server.address} has stopped to answer") from None
            except grpc.FutureCancelledError:
                raise client_closed() from None

    def metadata(self, own: Headers) -> Headers:
        """What a call carries: the client's, and its own."""
        return (*self.settings.credentials.headers(), *self.settings.metadata, *own)

    def _any_ready(self, but: Server | None = None) -> bool:
        return any(each.is_ready for each in self._servers if each is not but)

    def _settle(self, server: Server) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not server.is_ready, 0.05)

    def _until_ready(self, deadline: float) -> bool:
        for server in self._servers:
            server.watch()
        with self._changed:
            while not self._any_ready():
                left = deadline - time.monotonic()
                if left <= 0 or self._is_closed:
                    return False
                self._changed.wait(min(left, 0.2))
        return True
