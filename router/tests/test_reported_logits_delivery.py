import asyncio

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.delivery import deliveries
from inlay_router.links.scripted_shard import scripted_facts
from inlay_router.request import GenerationRequest, Prompt, Token
from inlay_router.text.answer import Answer
from inlay_router.text.tokenizer import Tokenizer


def test_logits_reach_the_token_that_was_chosen_and_no_other() -> None:
    request = GenerationRequest(prompt=Prompt(token_ids=(1,)), max_new_tokens=9, wants_logits=True)
    answer = Answer(request, Tokenizer(scripted_facts().tokenizer_json), lambda: 0.0)
    result = pb.StepResult(
        sequence_ids=[7, 8],
        num_tokens=[2, 1],
        token_ids=[40, 41, 42],
        logprobs=[-1.0, 0.0, -1.0],
        logits=[
            pb.Logits(sequence_id=7, values=b"seven"),
            pb.Logits(sequence_id=9, values=b"who left"),
        ],
    )
    answer.sequence.sequence_id = 7
    (delivery,) = deliveries(result, {7: answer.sequence})
    answer.take(delivery)
    tokens = [item for item in asyncio.run(answer.read()) if isinstance(item, Token)]
    assert [token.logits for token in tokens] == [b"seven", b""]


def test_a_sequence_says_what_it_wants() -> None:
    request = GenerationRequest(prompt=Prompt(token_ids=(1,)), max_new_tokens=9, wants_logits=True)
    answer = Answer(request, Tokenizer(scripted_facts().tokenizer_json), lambda: 0.0)
    assert answer.sequence.to_message().logits
