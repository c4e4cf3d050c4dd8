"""A shard without a model that keeps every rule of generate.proto, and holds the router to them."""

import hashlib
from collections.abc import Callable
from typing import TypeAlias

from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as FastTokenizer

from inlay_proto import generate_pb2 as pb
from inlay_router.links.scripted_cache import HeldSequence, ScriptedCache

Choose: TypeAlias = Callable[[list[int], int], int]
"""(tokens of prompt and answer as read from the KV blocks, how many are the prompt) -> next token.
May raise RowFault, or LinkLost to take the shard down."""

Force: TypeAlias = Callable[[list[int], int], int | None]
"""(tokens of prompt and answer, how many are the prompt) -> the token that must follow; None where
`choose` is to be asked. Called for sequences with a grammar; must agree with `choose`."""

NUM_TOKENS_AN_IMAGE = 4


class RowFault(Exception):
    """Raised by `choose` to fail the row."""

    def __init__(self, kind: pb.RowFailure.Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def scripted_facts(*, num_blocks: int = 64, block_size: int = 16) -> pb.ModelFacts:
    """Facts of a model with a byte-level vocabulary: 256 bytes, then `<s>`, `</s>`, `<image>`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    fast = FastTokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    fast.decoder = decoders.ByteLevel()
    marks = [AddedToken(mark, special=True) for mark in ("<s>", "</s>", "<image>")]
    fast.add_special_tokens(marks)
    return pb.ModelFacts(
        model_id="scripted",
        model_type="scripted",
        dtype="float32",
        device="cpu",
        device_name="cpu",
        num_shards=1,
        num_blocks=num_blocks,
        block_size=block_size,
        max_position_embeddings=num_blocks * block_size,
        vocab_size=fast.get_vocab_size(),
        eos_token_ids=fast.encode("</s>").ids,
        tokenizer_json=fast.to_str(),
        takes_images=True,
        bos_token="<s>",
        eos_token="</s>",
        placeholders=["<image>"],
    )


def spell(answer: str) -> Choose:
    """A model that always answers `answer`, as tokens of `scripted_facts`, and then ends."""
    fast = FastTokenizer.from_str(scripted_facts().tokenizer_json)
    reply = fast.encode(answer + "</s>").ids
    return lambda token_ids, num_prompt_tokens: reply[len(token_ids) - num_prompt_tokens]


class ScriptedShard:
    """Runs steps on a KV cache that holds token ids and which image stands there.

    `choose` sees what is read back through the block table, so a block that two sequences own with
    different content changes an answer. An AssertionError says which rule of the contract the
    router broke.
    """

    def __init__(self, choose: Choose | None = None, facts: pb.ModelFacts | None = None) -> None:
        self.facts = facts or scripted_facts()
        self.choose = choose or spell("Hello, world")
        self.force: Force = lambda token_ids, num_prompt_tokens: None
        self.features: set[bytes] = set()
        """Keys of prepared images; a test may take some away."""
        self.images: dict[bytes, dict[int, bytes]] = {}
        """What stands at positions of prompts with images, by the key of their features."""
        self.num_computed_tokens = 0
        """Of all rows so far."""
        self._fast = FastTokenizer.from_str(self.facts.tokenizer_json)
        self.open()

    def open(self) -> None:
        """A new stream of steps: every sequence is dropped."""
        self._held: dict[int, HeldSequence] = {}
        self._known_ids: set[int] = set()
        self._row_ids: list[int] = []
        self._step_id = 0
        self._cache = ScriptedCache(self.facts.block_size)

    def die(self) -> None:
        """Forget all."""
        self.open()
        self.features.clear()

    @property
    def held_ids(self) -> list[int]:
        """Sequences that the shard would run."""
        return list(self._held)

    def prepare(self, request: pb.PrepareRequest) -> pb.PrepareReply:
        """Text by the tokenizer, NUM_TOKENS_AN_IMAGE placeholders for each image, and as many as
        there are embeddings where those stand for one."""
        reply, digests = pb.PrepareReply(), hashlib.sha256()
        placeholder = self._fast.encode("<image>").ids
        stands: dict[int, bytes] = {}
        for chunk in request.chunks:
            if chunk.WhichOneof("content") == "text":
                reply.token_ids.extend(self._fast.encode(chunk.text).ids)
                continue
            start = len(reply.token_ids)
            num_tokens = chunk.embeds.num_tokens or NUM_TOKENS_AN_IMAGE
            name = chunk.embeds.digest or chunk.image.digest
            digest = hashlib.sha256(b"settings" + name).digest()
            reply.images.add(start=start, length=num_tokens, digest=digest)
            reply.token_ids.extend(placeholder * num_tokens)
            digests.update(start.to_bytes(8) + digest)
            stands |= dict.fromkeys(range(start, start + num_tokens), digest)
        reply.features_key = digests.digest()
        self.images[reply.features_key] = stands
        self.features.add(reply.features_key)
        return reply

    def run(self, step: pb.Step) -> pb.StepResult:
        """One step, in the order that the contract fixes: leaving, joining, growths, rows."""
        assert step.step_id == self._step_id + 1, f"step {step.step_id} after {self._step_id}"
        self._step_id = step.step_id
        result = pb.StepResult(step_id=step.step_id)
        for sequence_id in step.leaving_ids:
            self._held.pop(sequence_id, None)
        for joined in step.joining:
            self._join(joined, result)
        for growth in step.growths:
            self._grow(growth)
        for sequence_id, num_tokens in self._rows(step):
            self._run_row(sequence_id, num_tokens, result)
        return result

    def _join(self, joined: pb.Sequence, result: pb.StepResult) -> None:
        assert joined.sequence_id not in self._known_ids, f"id {joined.sequence_id} used twice"
        self._known_ids.add(joined.sequence_id)
        assert joined.num_cached_tokens < len(joined.token_ids), "nothing is left to compute"
        assert not (joined.num_cached_tokens and joined.prompt_logprobs), "who computes them?"
        assert not (joined.num_cached_tokens and self.facts.is_recurrent), "where are its states?"
        if self._needs_features(joined) and joined.features_key not in self.features:
            self._fail(joined.sequence_id, pb.RowFailure.KIND_FEATURES_MISSING, "gone", result)
            return
        images = self.images.get(joined.features_key, {})
        held = HeldSequence(
            joined, list(joined.token_ids), images, num_computed=joined.num_cached_tokens
        )
        self._held[joined.sequence_id] = held
        most = self.facts.max_sequences
        assert not most or len(self._held) <= most + 1, f"states of {len(self._held)} sequences"

    def _needs_features(self, joined: pb.Sequence) -> bool:
        """Whether there is an image that is not in the cache already, as far as is known."""
        positions = self.images.get(joined.features_key)
        if positions is None:
            return bool(joined.features_key)
        return any(position >= joined.num_cached_tokens for position in positions)

    def _grow(self, growth: pb.BlockGrowth) -> None:
        for block_id in growth.block_ids:
            assert 0 <= block_id < self.facts.num_blocks, f"block {block_id} is not in the pool"
        if held := self._held.get(growth.sequence_id):
            is_first = not held.block_ids
            held.block_ids += growth.block_ids
            cached = self._cache.read(held) if is_first else []
            assert cached == held.token_ids[: len(cached)], f"not what is cached: {held!r}"

    def _rows(self, step: pb.Step) -> list[tuple[int, int]]:
        if not step.HasField("rows"):
            return [(sequence_id, 1) for sequence_id in self._row_ids]
        self._row_ids = list(step.rows.sequence_ids)
        assert len(set(self._row_ids)) == len(self._row_ids), "a sequence stands in two rows"
        return list(zip(self._row_ids, step.rows.num_tokens, strict=True))

    def _run_row(self, sequence_id: int, num_tokens: int, result: pb.StepResult) -> None:
        assert sequence_id in self._known_ids, f"row of {sequence_id}, which never joined"
        held = self._held.get(sequence_id)
        if held is None:
            return  # it ended or failed meanwhile
        num_tokens += held.num_forced
        end = held.num_computed + num_tokens
        assert num_tokens > 0 and end <= len(held.token_ids), f"row of {num_tokens} for {held!r}"
        self._cache.write(held, end)
        self.num_computed_tokens += num_tokens
        self._report_prompt(held, end, result)
        held.num_computed = end
        if end == len(held.token_ids):
            self._choose(held, result)

    def _report_prompt(self, held: HeldSequence, end: int, result: pb.StepResult) -> None:
        start = max(held.num_computed, 1)
        stop = min(end, held.joined.num_prompt_tokens)
        if held.joined.prompt_logprobs and start < stop:
            logprobs = [-float(position) for position in range(start, stop)]
            num_top = held.joined.prompt_top_tokens
            result.prompt_logprobs.add(
                sequence_id=held.joined.sequence_id,
                start=start,
                logprobs=logprobs,
                top_token_ids=list(range(num_top)) * len(logprobs),
                top_logprobs=[-0.5] * num_top * len(logprobs),
            )

    def _choose(self, held: HeldSequence, result: pb.StepResult) -> None:
        sequence_id = held.joined.sequence_id
        try:
            token_id = self.choose(self._cache.read(held), held.joined.num_prompt_tokens)
        except RowFault as fault:
            self._fail(sequence_id, fault.kind, str(fault), result)
            return
        held.token_ids.append(token_id)
        new_ids = held.token_ids[-1 - held.num_forced :]
        result.sequence_ids.append(sequence_id)
        result.num_tokens.append(len(new_ids))
        result.num_forced.append(held.num_forced)
        result.token_ids.extend(new_ids)
        result.logprobs.extend([-0.5] * len(new_ids))
        if num_top := held.joined.top_n_tokens:
            self._report_top(held, new_ids, num_top, result)
        held.num_forced = 0
        if not self._ends(held, token_id, result):
            self._go_on(held)

    def _report_top(
        self, held: HeldSequence, token_ids: list[int], num_top: int, result: pb.StepResult
    ) -> None:
        places = range(num_top)
        top_ids = [(each + i) % self.facts.vocab_size for each in token_ids for i in places]
        result.top_tokens.add(
            sequence_id=held.joined.sequence_id,
            token_ids=top_ids,
            logprobs=[-0.5 - i for i in places] * len(token_ids),
        )

    def _go_on(self, held: HeldSequence) -> None:
        """By tokens that must follow, as far as there are slots for them and all that is asked."""
        forcing, num_prompt_tokens = held.joined.forcing, held.joined.num_prompt_tokens
        num_slots = len(held.block_ids) * self.facts.block_size - forcing.num_spare_slots
        num_tokens_max = num_prompt_tokens + held.joined.max_new_tokens
        while held.num_forced < forcing.max_tokens:
            has_room = len(held.token_ids) < min(num_slots, num_tokens_max - 1)
            token_id = self.force(held.token_ids, num_prompt_tokens) if has_room else None
            if token_id is None:
                return
            held.token_ids.append(token_id)
            held.num_forced += 1

    def _ends(self, held: HeldSequence, token_id: int, result: pb.StepResult) -> bool:
        """Whether the answer is over, which it says."""
        num_answer_tokens = len(held.token_ids) - held.joined.num_prompt_tokens
        if token_id in self.facts.eos_token_ids:
            reason = pb.END_REASON_EOS_TOKEN
        elif num_answer_tokens >= held.joined.max_new_tokens:
            reason = pb.END_REASON_LENGTH
        else:
            return False
        result.endings.add(sequence_id=held.joined.sequence_id, reason=reason)
        del self._held[held.joined.sequence_id]
        return True

    def _fail(
        self, sequence_id: int, kind: pb.RowFailure.Kind, message: str, result: pb.StepResult
    ) -> None:
        self._held.pop(sequence_id, None)
        result.failures.add(sequence_id=sequence_id, kind=kind, message=message)
