"""Who stands in for a reader that waits."""

import asyncio

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.delivery import Delivery
from inlay_router.errors import GenerationFailed
from inlay_router.links.scripted_shard import scripted_facts
from inlay_router.request import Finish, GenerationRequest, Prompt, Token
from inlay_router.text.answer import Answer, Items
from inlay_router.text.tokenizer import Tokenizer


def an_answer() -> Answer:
    request = GenerationRequest(prompt=Prompt(token_ids=(1,)), max_new_tokens=9)
    return Answer(request, Tokenizer(scripted_facts().tokenizer_json), lambda: 0.0)


def bring(answer: Answer, *token_ids: int, ending: "pb.EndReason | None" = None) -> None:
    logprobs = [-0.5] * len(token_ids)
    sequence = answer.sequence
    news = Delivery(sequence=sequence, token_ids=list(token_ids), logprobs=logprobs, ending=ending)
    answer.take(news)


class Deputy:
    """Notes what it was given; refuses while it is told to."""

    def __init__(self) -> None:
        self.is_willing = True
        self.taken: list[int] = []

    def __call__(self, items: Items) -> bool:
        if self.is_willing:
            self.taken += ids(items)
        return self.is_willing


def ids(items: Items) -> list[int]:
    return [item.token_id for item in items if isinstance(item, Token)]


def test_a_deputy_takes_what_a_waiting_reader_would_be_woken_for() -> None:
    async def main() -> None:
        answer, deputy = an_answer(), Deputy()
        answer.deputy = deputy
        bring(answer, 10)  # nobody waits
        assert ids(await answer.read()) == [10]
        reading = asyncio.create_task(answer.read())
        await asyncio.sleep(0)
        bring(answer, 11)
        bring(answer, 12, 13)
        bring(answer)
        assert deputy.taken == [11, 12, 13]
        bring(answer, 14, ending=pb.END_REASON_LENGTH)
        *rest, finish = await reading
        assert ids(rest) == [14]
        assert isinstance(finish, Finish)
        assert finish.num_generated_tokens == 5
        assert deputy.taken == [11, 12, 13]

    asyncio.run(main())


def test_a_reader_gets_what_his_deputy_cannot_take_and_all_that_comes_meanwhile() -> None:
    async def main() -> None:
        answer, deputy = an_answer(), Deputy()
        answer.deputy = deputy
        reading = asyncio.create_task(answer.read())
        await asyncio.sleep(0)
        deputy.is_willing = False
        bring(answer, 10)
        deputy.is_willing = True
        bring(answer, 11)  # he is awake, and must not be overtaken
        assert ids(await reading) == [10, 11]
        assert deputy.taken == []

    asyncio.run(main())


def test_a_failure_goes_to_the_reader() -> None:
    async def main() -> None:
        answer, deputy = an_answer(), Deputy()
        answer.deputy = deputy
        reading = asyncio.create_task(answer.read())
        await asyncio.sleep(0)
        answer.fail(GenerationFailed("it broke"))
        assert isinstance((await asyncio.gather(reading, return_exceptions=True))[0], Exception)
        assert deputy.taken == []

    asyncio.run(main())
