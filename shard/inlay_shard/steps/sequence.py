"""One running generation as a shard keeps it: tokens, blocks, images, matcher."""

from collections.abc import Sequence as Ids
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from inlay_grammars.forced import ForcedTokens
from inlay_grammars.guard import Guard
from inlay_grammars.matcher import Matcher
from inlay_proto import generate_pb2 as pb
from inlay_shard.images.features import Features
from inlay_shard.sampling.controls import SamplingRow
from inlay_shard.sampling.penalties import PenaltyState


class BlockTable:
    """The blocks of a sequence, in order; grows at its end."""

    def __init__(self) -> None:
        self._block_ids = np.zeros(16, np.int32)
        self._num_blocks = 0

    def __len__(self) -> int:
        return self._num_blocks

    def __repr__(self) -> str:
        return f"BlockTable({self.block_ids.tolist()})"

    @property
    def block_ids(self) -> NDArray[np.int32]:
        """The blocks: int32 (len(self),)."""
        return self._block_ids[: self._num_blocks]

    def append(self, block_ids: Ids[int]) -> None:
        """Grow by these blocks."""
        end = self._num_blocks + len(block_ids)
        while end > len(self._block_ids):
            self._block_ids = np.concatenate([self._block_ids, np.zeros_like(self._block_ids)])
        self._block_ids[self._num_blocks : end] = block_ids
        self._num_blocks = end


@dataclass(kw_only=True, eq=False)
class RunningSequence:
    """What a shard knows about one sequence."""

    sequence_id: int
    token_ids: list[int]
    """Prompt, then the answer so far."""
    num_prompt_tokens: int
    max_new_tokens: int
    sampling: SamplingRow
    """What the sampler reads. Its `output_ids` is the answer so far, the same list each time."""
    output_ids: list[int]
    """The answer so far."""
    features: Features | None = None
    """Images of the prompt."""
    matcher: Matcher | None = None
    """State of the grammar; only on rank 0."""
    guard: Guard | None = None
    """Leads the answer to its end in time; only where there is a matcher."""
    has_shortened: bool = False
    """Whether the guard ever changed a token."""
    forced: ForcedTokens = field(default_factory=ForcedTokens)
    """Tokens that must follow; only where there is a matcher."""
    max_forced: int = 0
    """How many of them a row computes beside those that are asked of it; 0 for none."""
    num_spare_slots: int = 0
    """Slots that its blocks have room for behind such a row."""
    num_forced: int = 0
    """Tokens at the end that were forced: the next row computes them too, and reports them."""
    wants_prompt_logprobs: bool = False
    num_prompt_top_tokens: int = 0
    wants_logits: bool = False
    blocks: BlockTable = field(default_factory=BlockTable)
    num_computed: int = 0
    """Tokens whose keys and values are in the pool: [0, num_computed)."""
    state_slot: int = 0
    """Where its states are, if the model keeps any: those behind the last of these tokens."""

    @classmethod
    def from_message(
        cls,
        message: pb.Sequence,
        features: Features | None,
        matcher: Matcher | None,
        guard: Guard | None = None,
    ) -> "RunningSequence":
        """A sequence as it joins, with the tokens computed that the router found cached."""
        token_ids = list(message.token_ids)
        prompt_ids = token_ids[: message.num_prompt_tokens]
        output_ids = token_ids[message.num_prompt_tokens :]
        row = SamplingRow(
            sampling=message.sampling,
            prompt_ids=prompt_ids,
            output_ids=output_ids,
            top_n_tokens=message.top_n_tokens,
            penalties=PenaltyState(),
        )
        return cls(
            sequence_id=message.sequence_id,
            token_ids=token_ids,
            num_prompt_tokens=message.num_prompt_tokens,
            max_new_tokens=message.max_new_tokens,
            sampling=row,
            output_ids=output_ids,
            features=features,
            matcher=matcher,
            guard=guard,
            has_shortened=message.finishing.has_shortened,
            max_forced=message.forcing.max_tokens,
            num_spare_slots=message.forcing.num_spare_slots,
            wants_prompt_logprobs=message.prompt_logprobs,
            num_prompt_top_tokens=message.prompt_top_tokens,
            wants_logits=message.logits,
            num_computed=message.num_cached_tokens,
        )

    def append(self, token_id: int) -> None:
        """Add a token to the answer."""
        self.token_ids.append(token_id)
        self.output_ids.append(token_id)

    @cached_property
    def takes_likeliest(self) -> bool:
        """Whether its tokens are the most likely ones, whatever came before, and nobody wants to
        know more of them than their log-probabilities."""
        sampling = self.sampling
        is_free = self.matcher is None and not sampling.is_steered
        return is_free and not sampling.top_n_tokens and not self.wants_logits

    @property
    def has_room(self) -> bool:
        """Whether another token may follow."""
        return self.num_left > 0

    @property
    def num_left(self) -> int:
        """Tokens that may follow."""
        return self.max_new_tokens - len(self.output_ids)
