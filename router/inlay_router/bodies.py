"""From what generations yielded to the body of an answer, with the best of several chosen."""

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from inlay_router.admission import ValidGenerateRequest
from inlay_router.batching.generation import Generation
from inlay_router.request import Finish, GenerationRequest, Prompt, Token, TopToken
from inlay_router.schemas import (
    DetailsBody,
    GenerateAnswer,
    PrefillTokenBody,
    SequenceBody,
    StreamDetailsBody,
    TokenBody,
)
from inlay_router.tasks import together
from inlay_router.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class Generated:
    """One generation, complete."""

    request: GenerationRequest
    tokens: tuple[Token, ...]
    finish: Finish

    @property
    def seed(self) -> int | None:
        """The seed, if the answer depends on it."""
        return seed_of(self.request)

    @property
    def mean_logprob(self) -> float:
        """How likely the model finds its own answer; the best of several has the highest."""
        return sum(token.logprob for token in self.tokens) / max(len(self.tokens), 1)


async def generate_all(
    generation: Generation, request: ValidGenerateRequest, client_id: str = ""
) -> list[Generated]:
    """Run all of its generations side by side. Raises the first error of any."""
    return await together(_generate(generation, one, client_id) for one in request.generations)


async def _generate(
    generation: Generation, request: GenerationRequest, client_id: str
) -> Generated:
    async with generation.stream(request, client_id) as answer:
        tokens, finish = await answer.whole()
    return Generated(request=request, tokens=tokens, finish=finish)


def best_first(generated: Sequence[Generated]) -> list[Generated]:
    """The best in front, the others behind it in their order."""
    best = max(generated, key=lambda one: one.mean_logprob)
    return [best, *(one for one in generated if one is not best)]


def answer_of(
    request: ValidGenerateRequest, generated: Sequence[Generated], tokenizer: Tokenizer
) -> GenerateAnswer:
    """The body for `generated`, of which the first was chosen."""
    best = generated[0]
    text = request.full_text(best.finish.generated_text)
    if not request.parameters.wants_details:
        return GenerateAnswer(text)
    others = [_sequence(request, one, tokenizer) for one in generated[1:]]
    details = DetailsBody(
        finish_reason=best.finish.reason,
        generated_tokens=best.finish.num_generated_tokens,
        seed=best.seed,
        prefill=_prefill(request.prompt, best.finish, tokenizer),
        tokens=[token_body(token) for token in best.tokens],
        best_of_sequences=others or UNSET,
        top_tokens=_top_tokens(best.tokens),
        cached_tokens=best.finish.num_cached_tokens or UNSET,
        grammar_shortened=best.finish.is_shortened or UNSET,
        grammar_warnings=request.grammar_warnings or UNSET,
    )
    return GenerateAnswer(text, details)


def stream_details(request: ValidGenerateRequest, finish: Finish) -> StreamDetailsBody:
    """`details` of the last event of a stream."""
    return StreamDetailsBody(
        finish_reason=finish.reason,
        generated_tokens=finish.num_generated_tokens,
        seed=seed_of(request.generations[0]),
        input_length=len(request.prompt.token_ids),
        cached_tokens=finish.num_cached_tokens or UNSET,
        grammar_shortened=finish.is_shortened or UNSET,
        grammar_warnings=request.grammar_warnings or UNSET,
    )


def seed_of(request: GenerationRequest) -> int | None:
    """The seed of a request that samples; a greedy one has none."""
    return request.sampling.seed if request.sampling.do_sample else None


def token_body(token: Token | TopToken) -> TokenBody:
    """One token as clients see it."""
    return TokenBody(token.token_id, token.text, token.logprob, token.is_special)


def _sequence(request: ValidGenerateRequest, one: Generated, tokenizer: Tokenizer) -> SequenceBody:
    return SequenceBody(
        generated_text=request.full_text(one.finish.generated_text),
        finish_reason=one.finish.reason,
        generated_tokens=one.finish.num_generated_tokens,
        seed=one.seed,
        prefill=_prefill(request.prompt, one.finish, tokenizer),
        tokens=[token_body(token) for token in one.tokens],
        top_tokens=_top_tokens(one.tokens),
        grammar_shortened=one.finish.is_shortened or UNSET,
    )


def _prefill(prompt: Prompt, finish: Finish, tokenizer: Tokenizer) -> list[PrefillTokenBody]:
    """One entry a prompt token; empty unless its log-probabilities were asked for."""
    return [
        PrefillTokenBody(token_id, tokenizer.text(token_id), logprob)
        for token_id, logprob in zip(prompt.token_ids, finish.prompt_logprobs, strict=False)
    ]


def _top_tokens(tokens: Sequence[Token]) -> list[list[TokenBody]] | UnsetType:
    top_tokens = [[token_body(top) for top in token.top_tokens] for token in tokens]
    return top_tokens if any(top_tokens) else UNSET
