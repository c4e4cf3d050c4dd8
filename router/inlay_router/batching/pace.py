"""Sizes the prefill of a step so that running streams are not held up, by how long steps took."""

from collections.abc import Collection

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.batch_limits import BatchLimits
from inlay_router.batching.sequence import Sequence

PREFILL_SHARE = 1 / 2
"""Part of a step's time that prefill gets beside streams that ran before the prompt came: the step
takes twice as long as one of the decode rows alone."""
BURST_SHARE = 9 / 10
"""The same beside streams that only began when the prompt came. They are no better than those that
still wait for their first token, and all end sooner when prefill ends soon."""
NUM_STEADY_TOKENS = 16
"""Tokens that a stream had when a prompt came, for it to have run before."""
MIN_PREFILL_TOKENS = 16
"""Prompt tokens that a step computes at least, whatever they cost: prefill never starves."""
NUM_STEPS_TRUSTED = 32
"""Steps with prefill in a row, after which one without shows again what decode rows take alone."""
FIRST_REACH = 64
"""Prompt tokens beside decode rows while nothing is known; chunks then double as they are seen."""
_NUM_UNANSWERED_MAX = 4
_WEIGHT_OF_NEWS = 0.25
_WEIGHT_OF_BAD_NEWS = 0.5


def default_prefill_tokens(device: str) -> int:
    """Prompt tokens of a step that suit a device, named as torch names it.

    A CPU is busy with 512 for most of a second; a GPU is not busy with less than thousands.
    """
    return 4096 if device.startswith("cuda") else 512


class Pace:
    """Learns what decode rows and prompt tokens cost; plain numbers in, plain numbers out."""

    def __init__(self, max_prefill_tokens: int) -> None:
        self.max_prefill_tokens = max_prefill_tokens
        """Of any step."""
        self._decode_seconds: dict[int, float] = {}  # by bit length of the number of rows
        self._token_seconds: float | None = None  # of one prompt token, decode rows taken off
        self._reach = FIRST_REACH  # what larger chunks cost is not known
        self._num_mixed_steps = 0  # since one that was asked to be without prefill
        self._num_unanswered = 0  # such requests since it was heard what decode rows take

    def num_prefill_tokens(self, num_decoding: int, *, is_burst: bool = False) -> int:
        """Prompt tokens that the next step may compute beside `num_decoding` decode rows.

        is_burst: the streams that decode came together with the prompt.
        0 asks for a step that shows what the decode rows take alone.
        """
        if not num_decoding:
            return self.max_prefill_tokens
        if self._token_seconds is None:
            return min(self._reach, self.max_prefill_tokens)
        decode_seconds = self._decode_seconds.get(num_decoding.bit_length())
        is_due = decode_seconds is None or self._num_mixed_steps >= NUM_STEPS_TRUSTED
        if is_due and self._num_unanswered < _NUM_UNANSWERED_MAX:
            self._num_mixed_steps = 0
            self._num_unanswered += 1
            return 0
        self._num_mixed_steps += 1
        if decode_seconds is None:
            return min(MIN_PREFILL_TOKENS, self.max_prefill_tokens)
        share = BURST_SHARE if is_burst else PREFILL_SHARE
        seconds = decode_seconds * share / (1 - share)
        num_affordable = int(min(seconds / self._token_seconds, self._reach))
        return min(max(num_affordable, MIN_PREFILL_TOKENS), self.max_prefill_tokens)

    def num_tokens_of_a_step(self, num_decoding: int) -> int:
        """Prompt tokens that take as long as a step of so many decode rows; 0 if it is unknown."""
        decode_seconds = self._decode_seconds.get(max(num_decoding, 1).bit_length())
        if decode_seconds is None or self._token_seconds is None:
            return 0
        return int(decode_seconds / self._token_seconds)

    def note(self, *, num_decoding: int, num_prefill_tokens: int, seconds: float) -> None:
        """What a step took; 0 seconds say nothing."""
        if seconds <= 0:
            return
        if num_prefill_tokens:
            self._note_prefill(num_decoding, num_prefill_tokens, seconds)
        else:
            # A step is held up at times and never sped up: go down at once, and up slowly.
            size = num_decoding.bit_length()
            self._num_unanswered = 0
            known = self._decode_seconds.get(size, seconds)
            self._decode_seconds[size] = min(seconds, _mixed(known, seconds, _WEIGHT_OF_NEWS))

    def _note_prefill(self, num_decoding: int, num_prefill_tokens: int, seconds: float) -> None:
        if num_decoding:
            self._reach = max(self._reach, 2 * num_prefill_tokens)
        size = num_decoding.bit_length()
        decode_seconds = min(self._decode_seconds.get(size, 0.0), seconds)
        if decode_seconds:
            self._decode_seconds[size] = decode_seconds
        news = max(seconds - decode_seconds, 1e-9) / num_prefill_tokens
        known = self._token_seconds or news
        # A token costs more the further into its prompt it is.
        weight = _WEIGHT_OF_BAD_NEWS if news > known else _WEIGHT_OF_NEWS
        self._token_seconds = _mixed(known, news, weight)


class Unpaced:
    """Takes no account of running streams: for batches that nobody reads before their end."""

    def __init__(self, max_prefill_tokens: int) -> None:
        self.max_prefill_tokens = max_prefill_tokens
        """Of any step."""

    def num_prefill_tokens(self, num_decoding: int, *, is_burst: bool = False) -> int:
        """All that a step may compute."""
        return self.max_prefill_tokens

    def num_tokens_of_a_step(self, num_decoding: int) -> int:
        """It is never known."""
        return 0

    def note(self, *, num_decoding: int, num_prefill_tokens: int, seconds: float) -> None:
        """Nothing is learnt."""


def pace_of(limits: BatchLimits, device: str) -> Pace | Unpaced:
    """What sizes the prefill of steps on a device, named as torch names it."""
    pace = Pace if limits.is_paced else Unpaced
    return pace(limits.max_batch_prefill_tokens or default_prefill_tokens(device))


def _mixed(known: float, news: float, weight: float) -> float:
    return known + weight * (news - known)


def is_burst(decoding: Collection[Sequence], newcomer: Sequence | None, num_steps: int) -> bool:
    """Whether the stream that runs the longest, the first, had just begun when `newcomer` came.

    newcomer: whose prompt is next. num_steps: steps sent so far, each with a token of every stream.
    """
    stream = next(iter(decoding), None)
    if stream is None or newcomer is None:
        return False
    num_tokens_then = stream.num_answer_tokens - (num_steps - newcomer.arrival_step)
    return num_tokens_then < NUM_STEADY_TOKENS


def step_seconds(timings: pb.StepTimings) -> float:
    """What the rows of a step took; images have their own time."""
    parts = (
        timings.schedule,
        timings.transfer,
        timings.forward,
        timings.mask,
        timings.sample,
        timings.deliver,
    )
    return sum(parts) / 1e9
