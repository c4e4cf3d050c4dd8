"""A real server in processes of its own, and what tests ask of it."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

READY = re.compile(r"inlay is ready: (http://\S+)")
START_SECONDS = 240
EXAMPLES = Path(__file__).parent.parent / "examples"


@dataclass
class Server:
    """A running `inlay serve`."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    """Everything that it printed so far."""
    url: str = ""
    mischief: Path = Path()
    """Where its shards read what they are to do wrong, if they do."""

    def children(self, module: str) -> list[psutil.Process]:
        """The processes below the launcher that run `module`, oldest first."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        return sorted(
            (child for child in below if module in _command_line(child)),
            key=lambda child: child.create_time(),
        )

    def order(self, name: str, words: str) -> None:
        """Leave a file for its shards, all at once: they look for it at each step."""
        draft = self.mischief / f"{name}.draft"
        draft.write_text(words)
        draft.rename(self.mischief / name)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def output(self) -> str:
        """All that the server printed."""
        return "".join(self.lines)


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


@contextmanager
def serve(*arguments: str, variables: Mapping[str, str] | None = None) -> Iterator[Server]:
    """`inlay serve` with these arguments on a port of its own, ready to answer; `variables` are
    added to its environment."""
    server = Server(
        subprocess.Popen(
            [sys.executable, "-m", "inlay.cli", "serve", "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                **os.environ,
                "PYTHONUNBUFFERED": "1",
                "OMP_NUM_THREADS": "1",
                **(variables or {}),
            },
        )
    )
    is_ready = threading.Event()

    def read() -> None:
        assert server.process.stdout is not None
        for line in server.process.stdout:
            server.lines.append(line)
            if found := READY.search(line):
                server.url = found.group(1)
                is_ready.set()
        is_ready.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        if not is_ready.wait(START_SECONDS) or not server.url:
            raise AssertionError(f"the server did not become ready:\n{server.output()}")
        yield server
    finally:
        if server.process.poll() is None:
            server.process.terminate()
            try:
                server.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.process.wait()
        reader.join(timeout=30)
        assert server.process.stdout is not None
        server.process.stdout.close()


def data_uri(image: Path) -> str:
    """The picture as a data URI."""
    kind = {".png": "png", ".jpg": "jpeg", ".webp": "webp"}[image.suffix]
    return f"data:image/{kind};base64,{base64.b64encode(image.read_bytes()).decode()}"


def markdown(image: Path) -> str:
    """The picture as markdown, as prompts carry it."""
    return f"![]({data_uri(image)})"


def post(url: str, body: object, *, timeout: float = 60) -> tuple[int, Any, dict[str, str]]:
    """Status, JSON body and headers of a POST; error statuses are returned, not raised."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as reply:
            return reply.status, json.load(reply), dict(reply.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), dict(error.headers)


def generate(server: Server, inputs: str, **parameters: object) -> str:
    """The text that `/generate` answers."""
    status, body, _ = post(f"{server.url}/generate", {"inputs": inputs, "parameters": parameters})
    assert status == 200, body
    text = body["generated_text"]
    assert isinstance(text, str)
    return text


def stream(server: Server, inputs: str, **parameters: object) -> Iterator[dict[str, Any]]:
    """The events of `/generate_stream`, as they come."""
    body = json.dumps({"inputs": inputs, "parameters": parameters}).encode()
    request = urllib.request.Request(
        f"{server.url}/generate_stream", body, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as reply:
        for line in reply:
            if line.startswith(b"data: "):
                event: dict[str, Any] = json.loads(line[6:])
                yield event


def wait_until(condition: Any, seconds: float = 60.0) -> None:
    """Poll `condition` until it holds; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("the condition did not come true in time")
        time.sleep(0.05)
