"""How surprising a text is to the model: the log-probabilities of a prompt's own tokens."""

from collections.abc import Sequence
from statistics import fmean

from inlay.offline.requests import Controls, TokensRequest
from inlay.offline.result import Result
from inlay_router.schemas import GenerateParameters


def texts_of(input_ids: Sequence[int] | Sequence[Sequence[int]]) -> list[list[int]]:
    """One text or several, as token ids. Raises ValueError for what is neither."""
    alone = [each for each in input_ids if isinstance(each, int)]
    several = [list(each) for each in input_ids if not isinstance(each, int)]
    if alone and several:
        raise ValueError("`input_ids` must be the token ids of one text, or a list of such")
    texts = [alone] if alone else several
    for text in texts:
        if len(text) < 2:
            raise ValueError(f"`input_ids` needs at least 2 tokens a text. Given: {len(text)}")
    return texts


def scored(token_ids: Sequence[int]) -> TokensRequest:
    """A request for the log-probabilities of a text."""
    parameters = GenerateParameters(max_new_tokens=1, decoder_input_details=True)
    return TokensRequest(token_ids=token_ids, controls=Controls(parameters=parameters))


def cross_entropy(result: Result) -> float:
    """Of what came of such a request, in nats a token."""
    _, *logprobs = result.answers[0].finish.prompt_logprobs
    return -fmean(logprob for logprob in logprobs if logprob is not None)
