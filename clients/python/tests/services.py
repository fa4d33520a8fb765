"""Services as processes of their own, for tests that kill them: a tiny tower, an embedded store, ports that stay."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from scalingnote import DocumentClient, QueryClient

ROOT = Path(__file__).resolve().parents[3]
NODE = shutil.which("node") or "node"


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Service:
    """A document or query service that can be killed, stopped and started again at the same address."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._kind = kind
        self._port = free_port()
        self.address = f"127.0.0.1:{self._port}"
        self._flags = ["--port", str(self._port), "--data", str(folder / "data"), f"--{kind}-tower"]
        self._flags.append(str(folder / "tower"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> None:
        module = ROOT / "dist" / "services" / self._kind / "main.js"
        environment = {**os.environ, "SCALINGNOTE_LOG_LEVEL": "error", "SCALINGNOTE_STORE": "embedded"}
        self._process = subprocess.Popen(
            [NODE, str(module), *self._flags], env=environment, stdout=subprocess.DEVNULL
        )
        if wait:
            self.wait()

    def wait(self) -> None:
        """Until it answers."""
        if self._process is not None:
            client = DocumentClient if self._kind == "document" else QueryClient
            with client(self.address, timeout=60) as ready:
                ready.describe()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self._process.wait(60)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(60)


class Site:
    """One document service and two query services over one folder."""

    def __init__(self, folder: Path) -> None:
        write = "import(process.argv[1]).then((m) => m.writeTinyTower(process.argv[2], {space: {normalize: true}}))"
        module = (ROOT / "dist" / "towers" / "testing" / "tiny-tower.js").as_uri()
        subprocess.run([NODE, "-e", write, module, str(folder / "tower")], check=True)
        self.document = Service("document", folder)
        self.queries = [Service("query", folder), Service("query", folder)]
        self.document.start()

    def start_queries(self) -> list[str]:
        """Starts both query services, where they do not run; returns their addresses."""
        for service in self.queries:
            if not service.is_running:
                service.start(wait=False)
        for service in self.queries:
            service.wait()
        return [service.address for service in self.queries]

    def close(self) -> None:
        for service in (self.document, *self.queries):
            service.close()
