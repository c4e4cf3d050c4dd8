"""One running generation as the router keeps it: all that is needed to run it on, or again."""

from array import array
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Self

from inlay_proto import generate_pb2 as pb
from inlay_router.request import GenerationRequest


class State(Enum):
    """Where a sequence stands. The batcher sets it."""

    OUTSIDE = auto()
    """Not with the batcher: not added yet, or ended, cancelled or failed."""
    WAITING = auto()
    """In the queue, or held back behind it; it owns no block, and no shard knows it."""
    RUNNING = auto()
    """On the shards, and takes part in steps."""


@dataclass(kw_only=True, slots=True, eq=False)
class Sequence:
    """Token ids, block table and progress of one request.

    Positions of a running sequence, in half-open intervals:

        [0, num_computed)              computed, and the result is back
        [num_computed, num_scheduled)  in steps that are in flight
        [num_scheduled, num_visible)   to be scheduled: one token in decode, many in prefill

    where num_visible = len(token_ids) until all of these are scheduled, and num_scheduled + 1 from
    then on: a token that a step in flight will choose can be scheduled already, because the shard
    appends it by itself. Where a grammar forces tokens, a row turns out longer than it was
    scheduled: all bounds move up by as much with its result.
    """

    request: GenerationRequest
    num_prompt_tokens: int
    num_tokens_max: int
    """Prompt and answer when `max_new_tokens` are reached."""
    token_ids: "array[int]"
    """Prompt, then the answer as far as results are back; 4 bytes each."""
    client_id: str = ""
    """Whose turn in the queue it takes."""
    forcing: pb.Forcing | None = None
    """How its rows go on by tokens that its grammar forces; None if they do not. The batcher sets
    it."""
    state: State = State.OUTSIDE
    arrival_step: int = 0
    """Steps that had been sent when it was added."""
    sequence_id: int = 0
    """Its name on the shards, a new one each time that it joins, or is held back before it does; 0
    while it has none."""
    block_ids: list[int] = field(default_factory=list)
    """Block i holds positions [i * block_size, (i + 1) * block_size)."""
    block_keys: list[bytes] = field(default_factory=list)
    """Names of its full blocks by content, as far as they were needed; the prefix cache sets it."""
    num_published: int = 0
    """Blocks at the front that others can find."""
    has_shortened: bool = False
    """Whether a shard ever changed a token so that the answer ends in time."""
    has_run: bool = False
    """Whether it ever joined."""
    num_cached_tokens: int = 0
    """Prompt tokens that did not have to be computed when it joined first."""
    num_computed: int = 0
    num_scheduled: int = 0
    is_decoding: bool = False
    """Whether its rows are of one token, each of which chooses the token of the next."""
    num_ready: int = 0
    """Below so many scheduled tokens, decoding needs nothing but its turn: neither a block nor an
    end. The batcher sets it."""
    num_reached: int = 0
    """The most that `num_computed` was when it was last looked at; unlike it, never set back."""
    num_deaths: int = 0
    """Times that the replica died in a step with this sequence since `num_reached` last grew."""

    @classmethod
    def of(cls, request: GenerationRequest, client_id: str = "") -> Self:
        """A sequence that has not begun."""
        token_ids = array("I", request.prompt.token_ids)
        return cls(
            request=request,
            num_prompt_tokens=len(token_ids),
            num_tokens_max=len(token_ids) + request.max_new_tokens,
            token_ids=token_ids,
            client_id=client_id,
        )

    @property
    def num_answer_tokens(self) -> int:
        """Tokens of the answer whose results are back."""
        return len(self.token_ids) - self.num_prompt_tokens

    @property
    def num_unscheduled(self) -> int:
        """Tokens that the next row could compute; 0 once the last token of the answer is chosen."""
        if not self.is_decoding:
            return len(self.token_ids) - self.num_scheduled
        return 1 if self.num_scheduled + 1 < self.num_tokens_max else 0

    @property
    def num_slots_ahead(self) -> int:
        """Slots behind the next token that its row may come to need."""
        return 0 if self.forcing is None else self.forcing.max_tokens + self.forcing.num_spare_slots

    def begin_decoding(self, num_slots: int) -> None:
        """Its next row, of one token, has a slot among `num_slots`."""
        self.is_decoding = True
        self.num_ready = min(num_slots - self.num_slots_ahead, self.num_tokens_max - 1)

    def join(self, sequence_id: int, num_cached_blocks: int, block_size: int) -> bool:
        """Run under this name, with the tokens of the first blocks computed already.

        Returns whether it never ran before.
        """
        self.sequence_id = sequence_id
        self.state = State.RUNNING
        self.num_published = num_cached_blocks
        self.num_computed = self.num_scheduled = num_cached_blocks * block_size
        is_first, self.has_run = not self.has_run, True
        if is_first:
            self.num_cached_tokens = min(self.num_computed, self.num_prompt_tokens)
        return is_first

    def schedule(self, num_tokens: int) -> None:
        """Put tokens of its prompt in a step that is about to be sent."""
        self.num_scheduled += num_tokens
        self.is_decoding = self.num_scheduled == len(self.token_ids)

    def confirm(self, num_tokens: int) -> None:
        """The result of a step with `num_tokens` of this sequence is back."""
        self.num_computed += num_tokens
        self.note_reach()

    def note_reach(self) -> None:
        """Count what was never computed before as progress."""
        if self.num_computed > self.num_reached:
            self.num_reached = self.num_computed
            self.num_deaths = 0

    def lengthen(self, num_forced: int) -> None:
        """A row that was confirmed computed so many more tokens, which its result brings."""
        self.num_computed += num_forced
        self.num_scheduled += num_forced

    def withdraw(self) -> list[int]:
        """Forget all that the shards hold of it; returns the blocks that it owned."""
        self.note_reach()
        block_ids, self.block_ids = self.block_ids, []
        self.sequence_id = self.num_computed = self.num_scheduled = self.num_ready = 0
        self.is_decoding = False
        self.block_keys, self.num_published = [], 0
        self.state = State.OUTSIDE
        return block_ids

    def to_message(self) -> pb.Sequence:
        """What a shard must learn so that it can run on from here."""
        request = self.request
        message = pb.Sequence(
            sequence_id=self.sequence_id,
            token_ids=self.token_ids,
            num_prompt_tokens=self.num_prompt_tokens,
            max_new_tokens=request.max_new_tokens,
            features_key=request.prompt.features_key,
            sampling=request.sampling,
            grammar=request.grammar,
            top_n_tokens=request.top_n_tokens,
            prompt_logprobs=request.wants_prompt_logprobs,
            prompt_top_tokens=request.num_prompt_top_tokens,
            logits=request.wants_logits,
            num_cached_tokens=self.num_computed,
            forcing=self.forcing,
        )
        if request.finishing is not None:
            message.finishing.CopyFrom(request.finishing)
            message.finishing.has_shortened = self.has_shortened
        return message

    def __repr__(self) -> str:
        return (
            f"Sequence({self.state.name.lower()} {self.sequence_id}, blocks {self.block_ids},"
            f" {self.num_prompt_tokens} prompt tokens,"
            f" {self.num_answer_tokens} of {self.request.max_new_tokens} answer tokens,"
            f" {self.num_scheduled} scheduled, {self.num_computed} computed)"
        )
