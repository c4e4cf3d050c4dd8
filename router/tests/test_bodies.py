"""Which of several answers is the best."""

from inlay_router.bodies import Generated, best_first
from inlay_router.request import Finish, FinishReason, GenerationRequest, Prompt, Token

FINISH = Finish(reason=FinishReason.LENGTH, generated_text="", num_generated_tokens=1)


def generated(*logprobs: float) -> Generated:
    request = GenerationRequest(prompt=Prompt(token_ids=(1,)), max_new_tokens=9)
    tokens = tuple(
        Token(token_id=1, text="a", logprob=logprob, is_special=False) for logprob in logprobs
    )
    return Generated(request=request, tokens=tokens, finish=FINISH)


def test_the_highest_mean_is_the_best() -> None:
    long, short, poor = generated(-0.5, -0.5, -0.5), generated(-0.6), generated(-0.1, -2.0)
    assert best_first([poor, short, long]) == [long, poor, short]


def test_of_equals_the_first_is_the_best() -> None:
    first, second = generated(-0.5, -0.7), generated(-0.6)
    assert best_first([first, second])[0] is first


def test_an_answer_without_tokens_does_not_divide_by_zero() -> None:
    assert generated().mean_logprob == 0
