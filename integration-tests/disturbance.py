"""Processes of a server die or hang while clients read; what becomes of their streams."""

import http.client
import signal
import tempfile
import threading
import urllib.error
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import psutil
from harness import Server, serve, wait_until
from jobs import JOBS, Failed, Job, Piece

_CUT = (http.client.HTTPException, urllib.error.URLError, ConnectionError)
_NUM_PIECES_BEFORE = 3
"""Pieces that every stream has had when it counts as being in its midst."""
_NUM_TRIES = 50
_WORKER_SECONDS = 5.0
"""A worker that nobody needs may be away for longer."""
_IMAGE_WORKER = "from inlay_shard.images.image_process import main; main()"
_PLUGIN = Path(__file__).parent / "mischief_plugin.py"


@dataclass(frozen=True)
class Fault:
    """What happens to a process."""

    name: str
    part: str
    """A word of the command line of the process that it happens to."""
    blow: signal.Signals | str = signal.SIGKILL
    """A signal, or what the plugin is to do in the next step."""
    strikes_all: bool = False
    """Whether every such process is struck, and not one of them."""
    cuts: bool = False
    """Whether connections of clients end with the process, so that they have to ask again."""

    def strike(self, server: Server, which: int = 0) -> int:
        """Let it happen to the `which`-th of these processes; how many were struck."""
        try:
            wait_until(lambda: server.children(self.part), _WORKER_SECONDS)
        except AssertionError:
            return 0
        victims = server.children(self.part)
        if victims and not self.strikes_all:
            victims = [victims[which % len(victims)]]
        return sum(self._hit(victim, server) for victim in victims)

    def _hit(self, victim: psutil.Process, server: Server) -> bool:
        if isinstance(self.blow, str):
            server.order(str(victim.pid), self.blow)
            return True
        try:
            victim.send_signal(self.blow)
        except psutil.NoSuchProcess:
            return False
        return True


SHARD_KILLED = Fault("shard killed", "inlay_shard")
SHARDS_KILLED = Fault("all shards killed", "inlay_shard", strikes_all=True)
SHARD_OUT_OF_MEMORY = Fault("shard out of memory", "inlay_shard", "exit")
SHARD_RAISES = Fault("shard raises", "inlay_shard", "raise")
SHARD_CRASHES = Fault("shard crashes", "inlay_shard", signal.SIGSEGV)
SHARD_HANGS = Fault("shard hangs", "inlay_shard", signal.SIGSTOP)
IMAGE_WORKER_KILLED = Fault("image worker killed", _IMAGE_WORKER)
COMPILE_WORKER_KILLED = Fault("compile worker killed", "inlay_grammars.worker")
ROUTER_KILLED = Fault("router killed", "inlay_router", cuts=True)
ROUTER_HANGS = Fault("router hangs", "inlay_router", signal.SIGSTOP, cuts=True)
FAULTS = (
    SHARD_KILLED,
    SHARDS_KILLED,
    SHARD_OUT_OF_MEMORY,
    SHARD_RAISES,
    SHARD_CRASHES,
    SHARD_HANGS,
    IMAGE_WORKER_KILLED,
    COMPILE_WORKER_KILLED,
    ROUTER_KILLED,
    ROUTER_HANGS,
)
MOMENTS = ("idle", "prefill", "mid-stream", "starting", "loading")
"""Before requests come, with them, after tokens of each; and after those, while a shard that died
is started again: before it listens, and while it loads."""


@contextmanager
def serve_disturbed(*flags: str) -> Iterator[Server]:
    """A server in float32 whose shards take the blows that are no signals."""
    with tempfile.TemporaryDirectory(prefix="inlay-mischief-") as folder:
        variables = {"INLAY_MISCHIEF": folder}
        arguments = ["--dtype", "float32", "--plugin", str(_PLUGIN), *flags]
        with serve(*arguments, variables=variables) as server:
            server.mischief = Path(folder)
            yield server


class Reader(threading.Thread):
    """Reads one answer to its end."""

    def __init__(
        self, server: Server, job: Job, variant: int = 0, *, asks_again: bool = False
    ) -> None:
        """`asks_again`: whether a connection that is cut is followed by another request."""
        super().__init__(daemon=True)
        self.pieces: list[Piece] = []
        self.num_cuts = 0
        self.failure: object = None
        """Why the answer did not come to its end."""
        self.is_asking = threading.Event()
        self._server, self._job, self._variant = server, job, variant
        self._num_tries = _NUM_TRIES if asks_again else 1
        self.start()

    def run(self) -> None:
        for _ in range(self._num_tries):
            self.pieces.clear()
            self.is_asking.set()
            try:
                for piece in self._job.ask(self._server, self._variant):
                    self.pieces.append(piece)
                self.failure = None
                return
            except _CUT as cut:
                self.num_cuts += 1
                self.failure = cut
                if isinstance(cut, urllib.error.HTTPError):
                    self.failure = (cut.code, cut.read())
            except Failed as failed:
                self.failure = failed
                return

    @property
    def answer(self) -> dict[int, str]:
        """What came, by choice."""
        found: dict[int, str] = {}
        for index, text in self.pieces:
            found[index] = found.get(index, "") + text
        return found

    @property
    def is_in_its_midst(self) -> bool:
        """Whether some pieces are here, or all."""
        is_whole = self._job.is_best_of  # such an answer has no midst that could be seen
        return is_whole or len(self.pieces) >= _NUM_PIECES_BEFORE or not self.is_alive()


@dataclass
class Outcome:
    """What was done to streams, and what became of them."""

    num_kills: int = 0
    """Blows; one that only stops a process counts too."""
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
    def undisturbed(self) -> dict[int, dict[int, str]]:
        """The answer to every job while nothing happens."""
        readers = [Reader(self.server, job) for job in JOBS]
        for reader in readers:
            reader.join()
            assert reader.failure is None, reader.failure
        return {number: reader.answer for number, reader in enumerate(readers)}

    def round(self, fault: Fault, moment: str, num_streams: int, which: int = 0) -> Outcome:
        """Let the fault happen once, at that moment of so many streams; read them to their ends."""
        assert self.undisturbed
        self._num_rounds += 1
        outcome = Outcome(num_streams=num_streams)
        numbers = [number % len(JOBS) for number in range(which, which + num_streams)]
        if moment == "idle":
            outcome.num_kills += fault.strike(self.server, which)
            readers = self._readers(fault, numbers)
        else:
            readers = self._readers(fault, numbers)
            outcome.num_kills += self._wait_for(moment, readers)
            outcome.num_kills += fault.strike(self.server, which)
        self._judge(readers, numbers, outcome)
        return outcome

    def _readers(self, fault: Fault, numbers: Sequence[int]) -> list[Reader]:
        variant = self._num_rounds
        return [Reader(self.server, JOBS[n], variant, asks_again=fault.cuts) for n in numbers]

    def _wait_for(self, moment: str, readers: Sequence[Reader]) -> int:
        """Until the moment is there; how many blows that took."""
        for reader in readers:
            reader.is_asking.wait()
        if moment == "prefill":
            return 0
        wait_until(lambda: all(reader.is_in_its_midst for reader in readers))
        if moment == "mid-stream":
            return 0
        before = {child.pid for child in self.server.children(SHARD_KILLED.part)}
        num_loadings = self._num_loadings() + len(before)
        num_kills = SHARD_KILLED.strike(self.server)
        if moment == "loading":
            wait_until(lambda: self._num_loadings() >= num_loadings)
        else:
            wait_until(lambda: self._has_new_shards(before))
        return num_kills

    def _num_loadings(self) -> int:
        """Times that a shard said that it loads; it listens by then."""
        return self.server.output().count("loading weights")

    def _has_new_shards(self, before: set[int]) -> bool:
        now = {child.pid for child in self.server.children(SHARD_KILLED.part)}
        return len(now) == len(before) and not now & before

    def _judge(self, readers: Sequence[Reader], numbers: Sequence[int], outcome: Outcome) -> None:
        for number, reader in zip(numbers, readers, strict=True):
            reader.join()
            outcome.num_cut += reader.num_cuts
            if reader.failure is not None:
                outcome.num_lost += 1
                outcome.failures.append((JOBS[number], reader.failure))
            elif reader.answer != self.undisturbed[number]:
                outcome.num_altered += 1
                outcome.failures.append((JOBS[number], reader.answer))
