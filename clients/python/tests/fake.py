"""A query service that answers as a test tells it to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from scalingnote._proto import message

_SERVING = b"\x08\x01"
_NOT_SERVING = b"\x08\x02"


def rich(code: grpc.StatusCode, text: str, *, reason: str = "", retry_after: float | None = None) -> Any:
    """What to abort with, as our services do."""
    status = message("google.rpc.Status")(code=code.value[0], message=text)
    if reason:
        info = message("google.rpc.ErrorInfo")(reason=reason, domain="scalingnote")
        detail = status.details.add()
        detail.type_url, detail.value = "type.googleapis.com/google.rpc.ErrorInfo", info.SerializeToString()
    if retry_after is not None:
        delay = message("google.rpc.RetryInfo")()
        delay.retry_delay.FromNanoseconds(round(retry_after * 1e9))
        detail = status.details.add()
        detail.type_url, detail.value = "type.googleapis.com/google.rpc.RetryInfo", delay.SerializeToString()
    return status


class FakeService(grpc.GenericRpcHandler):
    """Counts calls; `behave` is called with the number of the call and its context, before the answer."""

    def __init__(self, behave: Callable[[int, Any], None] = lambda number, context: None, port: int = 0) -> None:
        self.behave = behave
        self.calls: list[tuple[float, dict[str, Any]]] = []
        self.health = _SERVING
        self._lock = threading.Lock()
        self._server = grpc.server(ThreadPoolExecutor(64))
        self._server.add_generic_rpc_handlers((self,))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self.address = f"127.0.0.1:{self.port}"
        self._server.start()

    def service(self, details: Any) -> Any:
        if details.method == "/grpc.health.v1.Health/Check":
            return grpc.unary_unary_rpc_method_handler(lambda request, context: self.health)
        if details.method == "/grpc.health.v1.Health/Watch":
            return grpc.unary_stream_rpc_method_handler(self._watch)
        name = details.method.rpartition("/")[2]
        if name == "SearchStream":
            request = message("SearchStreamRequest")
            return grpc.stream_stream_rpc_method_handler(
                self._stream,
                request_deserializer=request.FromString,
                response_serializer=lambda answer: answer.SerializeToString(),
            )
        answer = {
            "Search": "SearchResponse",
            "Describe": "QueryServiceDescribeResponse",
            "Count": "CountResponse",
            "DropCollection": "DropCollectionResponse",
        }[name]
        return grpc.unary_unary_rpc_method_handler(
            lambda _, context: self._answer(context, message(answer)()),
            response_serializer=lambda made: made.SerializeToString(),
        )

    def _count(self, context: Any) -> int:
        with self._lock:
            self.calls.append((time.monotonic(), dict(context.invocation_metadata())))
            return len(self.calls)

    def _answer(self, context: Any, answer: Any) -> Any:
        self.behave(self._count(context), context)
        return answer

    def _stream(self, requests: Any, context: Any) -> Any:
        for request in requests:
            self.behave(self._count(context), context)
            answer = message("SearchStreamResponse")(sequence=request.sequence)
            answer.result.SetInParent()
            yield answer

    def _watch(self, _: Any, context: Any) -> Any:
        said = b""
        while context.is_active():
            if said != self.health:
                said = self.health
                yield said
            time.sleep(0.02)

    def serve(self, is_serving: bool) -> None:
        self.health = _SERVING if is_serving else _NOT_SERVING

    def close(self) -> None:
        self._server.stop(0).wait()


def fail(status: Any) -> Callable[[Any], None]:
    """Ends a call with such a status."""

    def end(context: Any) -> None:
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        code = next(each for each in grpc.StatusCode if each.value[0] == status.code)
        context.abort(code, status.message)

    return end
