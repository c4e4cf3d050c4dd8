"""Budgets that a grammar asks for, and how clients learn that an answer was shortened."""

import asyncio
from typing import Any

import httpx
import pytest
from scripted_router import AcceptingGrammars, serve

from inlay_grammars.verdict import Verdict
from inlay_proto import generate_pb2 as pb
from inlay_router.batching.delivery import deliveries
from inlay_router.batching.sequence import Sequence
from inlay_router.errors import ValidationError
from inlay_router.finishing import finishing_of
from inlay_router.request import GenerationRequest, Prompt

GRAMMAR = {"type": "regex", "value": "abc"}


def post(
    first_plan: tuple[int, ...] | None, max_new_tokens: int | None, **config: Any
) -> tuple[httpx.Response, pb.Sequence | None]:
    """The response, and how the sequence joined if it did."""

    async def scenario() -> tuple[httpx.Response, pb.Sequence | None]:
        async with (
            serve(grammars=AcceptingGrammars(Verdict(first_plan=first_plan)), **config) as edge,
            edge.client as client,
        ):
            parameters = {"grammar": GRAMMAR, "max_new_tokens": max_new_tokens}
            response = await client.post(
                "/generate", json={"inputs": "x", "parameters": parameters}
            )
            joined = [sequence for step in edge.link.steps for sequence in step.joining]
            return response, joined[0] if joined else None

    return asyncio.run(scenario())


def test_a_budget_that_is_too_small_is_refused_with_the_number_needed() -> None:
    response, joined = post((5, 6, 7), 2)
    assert response.status_code == 422
    assert response.json() == {
        "error": "Input validation error: `max_new_tokens` must be >= 3: the shortest answer found "
        "in the `grammar` has as many tokens. Given: 2",
        "error_type": "validation",
    }
    assert joined is None


@pytest.mark.parametrize("max_new_tokens", [3, None])
def test_the_shard_is_told_how_an_answer_can_end(max_new_tokens: int | None) -> None:
    response, joined = post((5, 6, 7), max_new_tokens)
    assert response.status_code == 200
    assert joined is not None
    assert list(joined.finishing.first_plan) == [5, 6, 7]


def test_an_empty_answer_fits_any_budget() -> None:
    _, joined = post((), 1)
    assert joined is not None
    assert joined.HasField("finishing")


@pytest.mark.parametrize(
    ("first_plan", "config"), [(None, {}), ((5, 6, 7), {"finishes_in_budget": False})]
)
def test_without_a_plan_or_a_wish_answers_are_cut_off(
    first_plan: tuple[int, ...] | None, config: dict[str, Any]
) -> None:
    response, joined = post(first_plan, 2, **config)
    assert response.status_code == 200
    assert joined is not None
    assert not joined.HasField("finishing")


def test_a_sequence_joins_again_as_it_was() -> None:
    request = GenerationRequest(
        prompt=Prompt(token_ids=(1,)), max_new_tokens=4, finishing=finishing_of((5,), 4)
    )
    sequence = Sequence.of(request)
    assert not sequence.to_message().finishing.has_shortened
    sequence.has_shortened = True
    assert sequence.to_message().finishing.has_shortened
    assert request.finishing == pb.Finishing(first_plan=[5])


def test_a_plan_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(ValidationError, match=r"must be >= 2.*Given: 1"):
        finishing_of((5, 6), 1)


def test_deliveries_say_what_was_shortened() -> None:
    request = GenerationRequest(prompt=Prompt(token_ids=(1,)), max_new_tokens=4)
    running = {1: Sequence.of(request), 2: Sequence.of(request)}
    for sequence_id, sequence in running.items():
        sequence.sequence_id = sequence_id
    result = pb.StepResult(
        sequence_ids=[1, 2], num_tokens=[1, 1], token_ids=[8, 9], logprobs=[0, 0], shortened_ids=[2]
    )
    assert [delivery.has_shortened for delivery in deliveries(result, running)] == [False, True]
