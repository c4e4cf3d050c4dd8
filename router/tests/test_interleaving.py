"""Several answers read at a time."""

import asyncio
from contextlib import AsyncExitStack, aclosing

import pytest
from scripted_router import Edge, eventually, serve

from inlay_proto import generate_pb2 as pb
from inlay_router.errors import GenerationFailed
from inlay_router.interleaving import interleave
from inlay_router.links.scripted_shard import RowFault, spell
from inlay_router.request import Finish, GenerationRequest, Prompt


async def texts_of(edge: Edge, prompts: list[str]) -> dict[int, str]:
    """What each prompt is answered, read side by side."""
    tokenizer = edge.generation.tokenizer
    async with AsyncExitStack() as stack:
        answers = [
            await stack.enter_async_context(
                edge.generation.stream(
                    GenerationRequest(
                        prompt=Prompt(token_ids=tuple(tokenizer.encode(prompt))), max_new_tokens=9
                    )
                )
            )
            for prompt in prompts
        ]
        texts: dict[int, str] = {}
        async with aclosing(interleave(answers)) as arrivals:
            async for place, items in arrivals:
                if isinstance(items[-1], Finish):
                    texts[place] = items[-1].generated_text
        return texts


@pytest.mark.parametrize("num_prompts", [1, 3])
def test_every_answer_comes_at_its_place(num_prompts: int) -> None:
    async def scenario() -> dict[int, str]:
        async with serve(spell("hello")) as edge:
            return await texts_of(edge, ["a", "bc", "def"][:num_prompts])

    assert asyncio.run(scenario()) == dict.fromkeys(range(num_prompts), "hello")


@pytest.mark.parametrize("num_prompts", [1, 2])
def test_a_fault_of_one_ends_the_reading(num_prompts: int) -> None:
    def choose(token_ids: list[int], num_prompt_tokens: int) -> int:
        if num_prompt_tokens == 1 and len(token_ids) > 3:
            raise RowFault(pb.RowFailure.KIND_INTERNAL, "no")
        return 97

    async def scenario() -> None:
        async with serve(choose) as edge:
            with pytest.raises(GenerationFailed):
                await texts_of(edge, ["a", "bc"][:num_prompts])
            await eventually(lambda: edge.generation.stats.num_running == 0)

    asyncio.run(scenario())
