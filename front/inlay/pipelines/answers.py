"""From the tokens of an answer to Responses."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from inlay.pipelines.configs import GenerationConfig
from inlay.pipelines.response import Response
from inlay_proto import generate_pb2 as pb
from inlay_router.api.stop_text import StopTrimmer
from inlay_router.request import Finish, FinishReason, GenerationRequest, Token

if TYPE_CHECKING:
    from torch import Tensor


class AnswerReader:
    """Reads one answer, at once or piece by piece."""

    def __init__(
        self,
        request: GenerationRequest,
        index: int,
        facts: pb.ModelFacts,
        config: GenerationConfig,
    ) -> None:
        """`index` is the place of its prompt in the batch; `facts` are those of the model."""
        self._request = request
        self._index = index
        self._vocab_size = facts.vocab_size
        self._end_ids = {*facts.eos_token_ids, *request.stop_token_ids}
        self._skips_special_tokens = config.skip_special_tokens
        self._trimmer = StopTrimmer(() if config.include_stop_str_in_output else request.stop)
        self._num_tokens = 0

    def read(self, items: Sequence[Token | Finish]) -> Response:
        """What came together; the last of an answer is its Finish."""
        tokens = [item for item in items if isinstance(item, Token)]
        finish = items[-1] if isinstance(items[-1], Finish) else None
        has_end = finish is not None and finish.reason is not FinishReason.LENGTH
        if has_end and tokens and tokens[-1].token_id in self._end_ids:
            tokens.pop()
        text = self._trimmer.feed("".join(map(self._shown, tokens)))
        if finish is not None:
            text += self._trimmer.end(is_stopped=finish.reason is FinishReason.STOP_SEQUENCE)
        self._num_tokens += len(tokens)
        return Response(
            text=text,
            input_token_len=len(self._request.prompt.token_ids),
            generate_token_len=self._num_tokens,
            finish_reason=None if finish is None else _reason(finish),
            token_ids=[token.token_id for token in tokens],
            logprobs=[_logprobs(t) for t in tokens] if self._request.top_n_tokens else None,
            logits=self._logits(tokens) if self._request.wants_logits else None,
            index=self._index,
            cached_tokens=0 if finish is None else finish.num_cached_tokens,
        )

    def _shown(self, token: Token) -> str:
        return "" if token.is_special and self._skips_special_tokens else token.text

    def _logits(self, tokens: Sequence[Token]) -> "Tensor":
        import torch

        logits = torch.full((len(tokens), self._vocab_size), float("-inf"))
        for row, token in zip(logits, tokens, strict=True):
            if token.logits:
                row.copy_(torch.frombuffer(bytearray(token.logits), dtype=torch.float32))
            else:
                row[token.token_id] = 0.0
        return logits


def joined(pieces: Sequence[Response]) -> Response:
    """The pieces of a stream, at least one, as one answer."""
    last = pieces[-1]
    logprobs = [found for piece in pieces for found in piece.logprobs or ()]
    return Response(
        text="".join(piece.text for piece in pieces),
        input_token_len=last.input_token_len,
        generate_token_len=last.generate_token_len,
        finish_reason=last.finish_reason,
        token_ids=[token_id for piece in pieces for token_id in piece.token_ids],
        logprobs=None if last.logprobs is None else logprobs,
        logits=_stacked([piece.logits for piece in pieces if piece.logits is not None]),
        index=last.index,
        cached_tokens=last.cached_tokens,
    )


def _stacked(logits: "Sequence[Tensor]") -> "Tensor | None":
    if not logits:
        return None
    import torch

    return torch.cat(list(logits))


def _reason(finish: Finish) -> Literal["stop", "length"]:
    return "length" if finish.reason is FinishReason.LENGTH else "stop"


def _logprobs(token: Token) -> dict[int, float]:
    likeliest = {top.token_id: top.logprob for top in token.top_tokens}
    return {token.token_id: token.logprob} | likeliest
