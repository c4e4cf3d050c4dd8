"""Processes of a server die or hang while clients read; what becomes of their streams."""

import base64
import http.client
import signal
import threading
import urllib.error
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import psutil
from harness import EXAMPLES, Server, stream, wait_until

_CUT = (http.client.HTTPException, urllib.error.URLError, ConnectionError)
_NUM_TOKENS_BEFORE = 3
"""Tokens that every stream has had when it counts as being in its midst."""
_NUM_TRIES = 50
_NUM_CHARACTERS = 600
"""Of an answer that a grammar holds."""
_WORKER_SECONDS = 5.0
"""A worker that nobody needs may be away for longer."""
PICTURE = EXAMPLES / "shapes.png"


@dataclass(frozen=True)
class Job:
    """One request, whose answer is the same whenever and beside whomever it is made."""

    text: str
    num_pictures: int = 0
    is_seeded: bool = False
    has_grammar: bool = False

    def inputs(self, variant: int) -> str:
        """Each variant shows the same pixels in a file that no cache knows."""
        data = PICTURE.read_bytes() + variant.to_bytes(4)
        uri = f"data:image/png;base64,{base64.b64encode(data).decode()}"
        return f"![]({uri})" * self.num_pictures + self.text

    def parameters(self, variant: int) -> dict[str, Any]:
        """Each variant has the same language in a grammar that no cache knows."""
        parameters: dict[str, Any] = {"max_new_tokens": 400}
        if self.is_seeded:
            parameters |= {"do_sample": True, "temperature": 1.5, "seed": 11}
        if self.has_grammar:
            begin = variant % _NUM_CHARACTERS
            value = f"[a-z ]{{{begin}}}[a-z ]{{{_NUM_CHARACTERS - begin}}}"
            parameters["grammar"] = {"type": "regex", "value": value}
        return parameters


JOBS = (
    Job("What is this a picture of?\n\n", num_pictures=1, has_grammar=True),
    Job("a b c d e", is_seeded=True),
    Job("a b c d e" * 60, is_seeded=True, has_grammar=True),
    Job("Extract the objects as JSON.\n\n", num_pictures=1, is_seeded=True),
    Job("Tell me something.\n\n", has_grammar=True),
    Job("What is this?\n\n", num_pictures=2, is_seeded=True, has_grammar=True),
    Job("Tell me something.\n\n"),
    Job("a b c d e" * 200, is_seeded=True),
)


@dataclass(frozen=True)
class Fault:
    """What happens to a process."""

    name: str
    part: str
    """A word of the command line of the process that it happens to."""
    blow: signal.Signals = signal.SIGKILL

    def strike(self, server: Server, which: int = 0) -> psutil.Process | None:
        """Let it happen to the `which`-th of these processes; None when there is none."""
        try:
            wait_until(lambda: server.children(self.part), _WORKER_SECONDS)
            victims = server.children(self.part)
            victim = victims[which % len(victims)]
            victim.send_signal(self.blow)
        except (AssertionError, ZeroDivisionError, psutil.NoSuchProcess):
            return None
        return victim


SHARD_KILLED = Fault("shard killed", "inlay_shard")
SHARD_HANGS = Fault("shard hangs", "inlay_shard", signal.SIGSTOP)
IMAGE_WORKER_KILLED = Fault("image worker killed", "--multiprocessing-fork")
COMPILE_WORKER_KILLED = Fault("compile worker killed", "inlay_grammars.worker")
ROUTER_KILLED = Fault("router killed", "inlay_router")
FAULTS = (SHARD_KILLED, SHARD_HANGS, IMAGE_WORKER_KILLED, COMPILE_WORKER_KILLED, ROUTER_KILLED)
MOMENTS = ("idle", "prefill", "mid-stream", "loading")


class Reader(threading.Thread):
    """Reads one stream to its end."""

    def __init__(
        self, server: Server, job: Job, variant: int = 0, *, asks_again: bool = False
    ) -> None:
        """`asks_again`: whether a connection that is cut is followed by another request."""
        super().__init__(daemon=True)
        self.tokens: list[tuple[int, str]] = []
        """Ids and texts, as they came."""
        self.num_cuts = 0
        self.failure: object = None
        """Why the stream did not come to its end."""
        self._server = server
        self._inputs, self._parameters = job.inputs(variant), job.parameters(variant)
        self._num_tries = _NUM_TRIES if asks_again else 1
        self.is_asking = threading.Event()
        self.start()

    def run(self) -> None:
        for _ in range(self._num_tries):
            self.tokens.clear()
            self.is_asking.set()
            try:
                self.failure = self._read()
                return
            except _CUT as cut:
                self.num_cuts += 1
                self.failure = cut

    def _read(self) -> object:
        """What is wrong with the stream, if anything is."""
        for event in stream(self._server, self._inputs, **self._parameters):
            if "error" in event:
                return event
            self.tokens.append((event["token"]["id"], event["token"]["text"]))
            if event["generated_text"] is not None:
                return None
        raise ConnectionError("the stream ended without its text")

    @property
    def is_in_its_midst(self) -> bool:
        """Whether some tokens are here, or all."""
        return len(self.tokens) >= _NUM_TOKENS_BEFORE or not self.is_alive()


@dataclass
class Outcome:
    """What was done to streams, and what became of them."""

    num_kills: int = 0
    """Signals sent; one that only stops a process counts too."""
    num_streams: int = 0
    num_lost: int = 0
    """Streams that did not come to their end."""
    num_altered: int = 0
    """Streams that came to another end than undisturbed."""
    num_cut: int = 0
    """Connections that ended with their router; the request was made again."""
    failures: list[object] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.num_kills} kills, {self.num_streams} streams: {self.num_lost} lost,"
            f" {self.num_altered} altered ({self.num_cut} cut with their router and asked again)"
        )

    def add(self, other: "Outcome") -> None:
        """Count another round too."""
        self.num_kills += other.num_kills
        self.num_streams += other.num_streams
        self.num_lost += other.num_lost
        self.num_altered += other.num_altered
        self.num_cut += other.num_cut
        self.failures += other.failures


class Disturbance:
    """Rounds of faults on one server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._num_rounds = 0

    @cached_property
    def undisturbed(self) -> dict[int, list[tuple[int, str]]]:
        """The tokens of every job while nothing happens."""
        readers = [Reader(self.server, job) for job in JOBS]
        for reader in readers:
            reader.join()
            assert reader.failure is None, reader.failure
        return {number: reader.tokens for number, reader in enumerate(readers)}

    def round(self, fault: Fault, moment: str, num_streams: int, which: int = 0) -> Outcome:
        """Let the fault happen once, at that moment of so many streams; read them to their ends."""
        assert self.undisturbed
        self._num_rounds += 1
        outcome = Outcome(num_streams=num_streams)
        numbers = [number % len(JOBS) for number in range(which, which + num_streams)]
        if moment == "idle":
            self._strike(fault, which, outcome)
            readers = self._readers(fault, numbers)
        else:
            readers = self._readers(fault, numbers)
            self._wait_for(moment, readers, outcome)
            self._strike(fault, which, outcome)
        self._judge(readers, numbers, outcome)
        return outcome

    def _readers(self, fault: Fault, numbers: Sequence[int]) -> list[Reader]:
        asks_again = fault is ROUTER_KILLED
        variant = self._num_rounds
        return [Reader(self.server, JOBS[n], variant, asks_again=asks_again) for n in numbers]

    def _wait_for(self, moment: str, readers: Sequence[Reader], outcome: Outcome) -> None:
        for reader in readers:
            reader.is_asking.wait()
        if moment == "prefill":
            return
        wait_until(lambda: all(reader.is_in_its_midst for reader in readers))
        if moment == "loading":
            num_loadings = self._num_loadings() + len(self.server.children(SHARD_KILLED.part))
            self._strike(SHARD_KILLED, 0, outcome)
            wait_until(lambda: self._num_loadings() >= num_loadings)

    def _num_loadings(self) -> int:
        """Times that a shard said that it loads; it listens by then."""
        return self.server.output().count("loading weights")

    def _strike(self, fault: Fault, which: int, outcome: Outcome) -> psutil.Process | None:
        victim = fault.strike(self.server, which)
        outcome.num_kills += victim is not None
        return victim

    def _judge(self, readers: Sequence[Reader], numbers: Sequence[int], outcome: Outcome) -> None:
        for number, reader in zip(numbers, readers, strict=True):
            reader.join()
            outcome.num_cut += reader.num_cuts
            if reader.failure is not None:
                outcome.num_lost += 1
                outcome.failures.append(reader.failure)
            elif reader.tokens != self.undisturbed[number]:
                outcome.num_altered += 1
                outcome.failures.append((JOBS[number], reader.tokens))
