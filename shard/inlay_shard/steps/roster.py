"""The sequences that a shard holds, and the rows of a step as tokens of them."""

from collections.abc import Sequence

import torch

from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import RowFailed
from inlay_shard.images.features import FeatureCache, Features
from inlay_shard.machine.parallel import Ranks
from inlay_shard.states.state_slots import StateSlots
from inlay_shard.steps.batch import Row
from inlay_shard.steps.constraints import Constraints
from inlay_shard.steps.outcome import Outcome
from inlay_shard.steps.sequence import RunningSequence


class Roster:
    """Sequences by id, and the order of the rows of the step before."""

    def __init__(
        self,
        features: FeatureCache,
        constraints: Constraints | None,
        ranks: Ranks,
        *,
        num_blocks: int,
        block_size: int,
        num_embeddings: int,
        image_token_id: int | None,
        images_reach_behind: bool,
        needs_images: bool,
        state_slots: StateSlots | None = None,
    ) -> None:
        """constraints: None on ranks other than 0. Token ids are below `num_embeddings`, except
        for the placeholder of images. images_reach_behind: images change the positions of what is
        behind them, or what it sees. needs_images: no prompt may be without. state_slots: where
        the model keeps states of sequences."""
        self._features = features
        self._constraints = constraints
        self._ranks = ranks
        self._num_blocks = num_blocks
        self._block_size = block_size
        self._num_embeddings = num_embeddings
        self._image_token_id = image_token_id
        self._images_reach_behind = images_reach_behind
        self._needs_images = needs_images
        self._state_slots = state_slots
        self._sequences: dict[int, RunningSequence] = {}
        self._row_ids: Sequence[int] = ()

    def __repr__(self) -> str:
        return f"Roster({sorted(self._sequences)})"

    def clear(self) -> None:
        """Forget every sequence."""
        self._sequences.clear()
        self._row_ids = ()
        if self._state_slots is not None:
            self._state_slots.clear()

    def forget(self, sequence_id: int) -> None:
        """Forget one sequence, if it is there."""
        self._sequences.pop(sequence_id, None)
        if self._state_slots is not None:
            self._state_slots.give_back(sequence_id)

    def update(self, step: pb.Step, outcome: Outcome) -> list[Row]:
        """Let sequences leave, join and grow, and give the rows of the step.

        What cannot join or run is reported as failed and forgotten.
        """
        for sequence_id in step.leaving_ids:
            self.forget(sequence_id)
        if step.joining:
            self._join(step.joining, outcome)
        if step.growths:
            self._grow(step.growths, outcome)
        return self._rows(step, outcome)

    def _join(self, joining: Sequence[pb.Sequence], outcome: Outcome) -> None:
        failures: dict[int, RowFailed] = {}
        for message in joining:
            try:
                sequence = self._enter(message)
            except RowFailed as failure:
                failures[message.sequence_id] = failure
            else:
                self._sequences[message.sequence_id] = sequence
        self._agree([message.sequence_id for message in joining], failures)
        for sequence_id, reason in failures.items():
            self.forget(sequence_id)
            outcome.fail(sequence_id, reason)

    def _agree(self, sequence_ids: Sequence[int], failures: dict[int, RowFailed]) -> None:
        """Add the failures of the other ranks: what failed on one is failed on all."""
        is_fine = torch.tensor([sequence_id not in failures for sequence_id in sequence_ids])
        is_fine_everywhere = self._ranks.least(is_fine.to(torch.int32)).tolist()
        for sequence_id, is_kept in zip(sequence_ids, is_fine_everywhere, strict=True):
            if not is_kept:
                failures.setdefault(sequence_id, features_missing())

    def _enter(self, message: pb.Sequence) -> RunningSequence:
        if not 0 < message.num_prompt_tokens <= len(message.token_ids):
            raise RowFailed(
                pb.RowFailure.KIND_INTERNAL,
                f"{message.num_prompt_tokens} of {len(message.token_ids)} tokens are the prompt",
            )
        if not 0 <= message.num_cached_tokens < len(message.token_ids):
            raise RowFailed(
                pb.RowFailure.KIND_INTERNAL,
                f"{message.num_cached_tokens} of {len(message.token_ids)} tokens are cached",
            )
        if self._needs_images and not message.features_key:
            raise RowFailed(
                pb.RowFailure.KIND_INVALID, "this model answers only prompts with an image"
            )
        self._check_token_ids(message)
        matcher, guard = None, None
        if message.HasField("grammar") and self._constraints is not None:
            matcher, guard = self._constraints.follow(message)
        features = self._find_features(message)
        sequence = RunningSequence.from_message(message, features, matcher, guard)
        if self._state_slots is not None:
            sequence.state_slot = self._state_slots.take(message)
        return sequence

    def _check_token_ids(self, message: pb.Sequence) -> None:
        """A placeholder may have no embedding of its own, but only where an image takes its place;
        as text it is looked up like any other token."""
        placeholder = self._image_token_id if message.features_key else None
        for token_id in set(message.token_ids):
            if token_id >= self._num_embeddings and token_id != placeholder:
                raise RowFailed(
                    pb.RowFailure.KIND_INVALID,
                    f"token id {token_id} is not below {self._num_embeddings}, "
                    "the number of tokens that the model knows",
                )

    def _find_features(self, message: pb.Sequence) -> Features | None:
        if not self._needs_features(message):
            return None
        if (features := self._features.get(message.features_key)) is None:
            raise features_missing()
        return features

    def _needs_features(self, message: pb.Sequence) -> bool:
        """Whether tokens to be computed are images, or get their positions from images.

        The same on every rank.
        """
        if not message.features_key:
            return False
        to_compute = message.token_ids[message.num_cached_tokens : message.num_prompt_tokens]
        is_cached = message.num_cached_tokens > 0 and self._image_token_id not in to_compute
        return self._images_reach_behind or not is_cached

    def _grow(self, growths: Sequence[pb.BlockGrowth], outcome: Outcome) -> None:
        for growth in growths:
            if (sequence := self._sequences.get(growth.sequence_id)) is None:
                continue
            sequence.blocks.append(growth.block_ids)
            if max(growth.block_ids, default=0) >= self._num_blocks:
                reason = f"a block id is not below {self._num_blocks}, the size of the pool"
                self._fail(sequence, reason, outcome)

    def _rows(self, step: pb.Step, outcome: Outcome) -> list[Row]:
        if step.HasField("rows"):
            self._row_ids = list(step.rows.sequence_ids)
            counts: Sequence[int] = step.rows.num_tokens
        else:
            counts = [1] * len(self._row_ids)
        rows = []
        for sequence_id, num_tokens in zip(self._row_ids, counts, strict=True):
            if (sequence := self._sequences.get(sequence_id)) is None:
                continue
            end = sequence.num_computed + num_tokens + sequence.num_forced
            row = Row(sequence, sequence.num_computed, end)
            if reason := self._wrong(row):
                self._fail(sequence, reason, outcome)
            else:
                rows.append(row)
        return rows

    def _fail(self, sequence: RunningSequence, reason: str, outcome: Outcome) -> None:
        """For what the router should not have asked."""
        outcome.fail(sequence.sequence_id, RowFailed(pb.RowFailure.KIND_INTERNAL, reason))
        self.forget(sequence.sequence_id)

    def _wrong(self, row: Row) -> str:
        """What the router asked for and cannot have, in words; empty when all is well."""
        num_known = len(row.sequence.token_ids)
        num_slots = len(row.sequence.blocks) * self._block_size
        if not row.start < row.end <= num_known:
            return f"tokens [{row.start}, {row.end}) of {num_known} cannot be computed"
        if row.end > num_slots:
            return f"{row.end} tokens do not fit into {num_slots} slots"
        features = row.sequence.features
        if features is not None and features.cuts_image(row.end):
            return f"a row that ends at {row.end} cuts an image, which is seen as a whole"
        return ""


def features_missing() -> RowFailed:
    """The failure of a sequence whose images are not there."""
    return RowFailed(pb.RowFailure.KIND_FEATURES_MISSING, "the image features are gone")
