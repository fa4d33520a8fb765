"""An ingest whose connection breaks goes on after the last watermark, and reports every operation once."""

import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

from conftest import Pair

from scalingnote import DocumentClient, IngestOutcome


class Cutter:
    """A TCP proxy whose connections a test can cut."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            far = socket.create_connection(self._target)
            self.sockets += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=pair, daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass

    def cut(self) -> int:
        count = len(self.sockets)
        for each in self.sockets:
            each.shutdown(socket.SHUT_RDWR)
        self.sockets.clear()
        return count


def test_a_cut_connection(pair: Pair) -> None:
    proxy = Cutter(os.environ["DOCUMENT_ADDRESS"])
    outcomes: list[IngestOutcome] = []
    cuts = 0

    def source() -> Iterator[dict[str, Any]]:
        nonlocal cuts
        for index in range(60):
            if index in (20, 40):
                cuts += proxy.cut()
            yield {"id": f"resume-{index}", "text": f"Text {index} of many."}

    with DocumentClient(proxy.address) as client:
        done = client.ingest(
            source(), collection=pair.collection, tenant="resume", on_outcome=outcomes.append, window=16
        )
    assert cuts >= 4, "the connection was cut, made again and cut again"
    assert (done.sent, done.watermark, done.rejected) == (60, 60, 0)
    assert Counter(each.sequence for each in outcomes) == Counter(range(1, 61))
    assert pair.documents.count(collection=pair.collection, tenant="resume").documents == 60
