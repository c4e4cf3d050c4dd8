"""One answer as it grows: detokenised, cut at stop sequences, and kept for its reader."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Several
from itertools import repeat
from typing import Self, TypeAlias, cast

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.delivery import Delivery
from inlay_router.batching.sequence import Sequence
from inlay_router.errors import RouterError
from inlay_router.request import Finish, FinishReason, GenerationRequest, Token, TopToken
from inlay_router.text.detokenizer import detokenizer
from inlay_router.text.stop import StopMatcher
from inlay_router.text.tokenizer import Tokenizer

Items: TypeAlias = Several[Token | Finish]
"""What came together, in order."""
Deputy: TypeAlias = Callable[[Items], bool]
"""Takes items in a reader's stead, without waiting; False if it cannot, then the reader must."""

_REASONS = {
    pb.END_REASON_LENGTH: FinishReason.LENGTH,
    pb.END_REASON_EOS_TOKEN: FinishReason.EOS_TOKEN,
}


class Answer:
    """An async iterator of Tokens and one Finish, for one reader, filled without ever waiting.

    What a slow reader has not read yet is bounded by the length of the answer.
    """

    def __init__(
        self,
        request: GenerationRequest,
        tokenizer: Tokenizer,
        clock: Callable[[], float],
        client_id: str = "",
    ) -> None:
        self.sequence = Sequence.of(request, client_id)
        self.num_repairs = 0
        """Times that its image features were prepared again since its last token."""
        self.is_over = False
        """Whether nothing more will come: it has its Finish or an error. Set here alone."""
        self.deputy: Deputy | None = None
        """Asked before a reader who waits is woken, which costs more than the item that he wakes
        for. The end of the answer, whatever it is, goes to the reader himself."""
        self._request = request
        self._tokenizer = tokenizer
        self._clock = clock
        self._push = detokenizer(tokenizer, request.prompt.token_ids).push
        self._special_ids = tokenizer.special_ids
        self._stops = StopMatcher(request.stop) if request.stop else None
        self._stop_token_ids = request.stop_token_ids
        self._reason: FinishReason | None = None  # set once a stop sequence is there
        self._texts: list[str] = []  # one for each token
        self._prompt_logprobs = _no_logprobs(request)
        self._prompt_tops: list[tuple[TopToken, ...]] = [()] * len(self._prompt_logprobs)
        self._submitted_at = clock()
        self._started_at: float | None = None
        self._unread: deque[Token | Finish] = deque()
        self._error: RouterError | None = None
        self._wakes_at_end = False
        self._reader: asyncio.Future[None] | None = None

    def start(self) -> None:
        """The first step with it is about to be sent. Later calls change nothing."""
        if self._started_at is None:
            self._started_at = self._clock()

    def take(self, delivery: Delivery) -> None:
        """Add what a step brought. Nothing is added behind a stop sequence."""
        if self.is_over:
            return
        self.num_repairs = 0
        if delivery.prompt_logprobs is not None:
            self._note_prompt(delivery.prompt_logprobs)
        items = self._tokens(delivery)
        reason = self._reason
        if reason is None and delivery.ending is not None:
            reason = _REASONS[delivery.ending]
        if reason is not None:
            self.is_over = True
            items.append(self._finish(reason))
        self._hand_over(items)

    def fail(self, error: RouterError) -> None:
        """End the answer with an error, which the reader gets behind the tokens so far."""
        if not self.is_over:
            self.is_over = True
            self._error = error
            self._wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Token | Finish:
        if not self._unread:
            self._unread.extend(await self.read())
        if not self._unread:
            raise StopAsyncIteration
        return self._unread.popleft()

    async def read(self) -> list[Token | Finish]:
        """All that has come and was not read yet, at least one item; nothing once it is over.

        Raises what the answer failed with, behind the last item.
        """
        while not self._unread and not self.is_over:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        unread = list(self._unread)
        self._unread.clear()
        if not unread and self._error is not None:
            raise self._error
        return unread

    async def whole(self) -> tuple[tuple[Token, ...], Finish]:
        """All of it once it is over, for a reader who has read nothing: woken once, not by each
        token. Raises what it failed with."""
        self._wakes_at_end = True
        while not self.is_over:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        if self._error is not None:
            raise self._error
        *tokens, finish = self._unread
        return cast(tuple[Token, ...], tuple(tokens)), cast(Finish, finish)

    def _hand_over(self, items: list[Token | Finish]) -> None:
        """To the deputy of a reader who waits, and so has read all before; or else to the reader.

        Who is awake already, or wants nothing before the end, is not overtaken.
        """
        reader, deputy = self._reader, self.deputy
        is_awake = reader is None or reader.done()
        if is_awake or self.is_over or not items or deputy is None or not deputy(items):
            self._unread.extend(items)
            self._wake()

    def _wake(self) -> None:
        """Once there is something to read."""
        is_due = self.is_over or (self._unread and not self._wakes_at_end)
        if is_due and self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _tokens(self, delivery: Delivery) -> list[Token | Finish]:
        """What is new, up to a stop sequence: then `_reason` is set."""
        token_ids, logprobs, logits = delivery.token_ids, delivery.logprobs, delivery.logits
        if delivery.top_tokens is None and len(token_ids) == 1:  # nearly always
            return [self._token(token_ids[0], logprobs[0], (), logits)]
        tops: Iterable[tuple[TopToken, ...]] = repeat((), len(token_ids))
        if delivery.top_tokens is not None:
            tops = self._top_tokens(delivery.top_tokens)
        items: list[Token | Finish] = []
        for token_id, logprob, top_tokens in zip(token_ids, logprobs, tops, strict=True):
            items.append(self._token(token_id, logprob, top_tokens, logits))
            if self._reason is not None:
                break
            logits = b""
        return items

    def _token(
        self, token_id: int, logprob: float, top_tokens: tuple[TopToken, ...], logits: bytes
    ) -> Token:
        """The next one; sets `_reason` when the answer stops with it."""
        is_special = token_id in self._special_ids
        text = self._tokenizer.text(token_id) if is_special else self._push(token_id)
        if self._stops is not None and not is_special:
            text = self._cut(text, self._stops)
        if token_id in self._stop_token_ids:
            self._reason = FinishReason.STOP_SEQUENCE
            text = text if is_special else ""
        self._texts.append("" if is_special else text)
        return Token(token_id, text, logprob, is_special, top_tokens, logits)

    def _cut(self, text: str, stops: StopMatcher) -> str:
        num_kept = stops.feed(text)
        if num_kept is None:
            return text
        self._reason = FinishReason.STOP_SEQUENCE
        return text[:num_kept]

    def _top_tokens(self, message: pb.TopTokens) -> list[tuple[TopToken, ...]]:
        """The likeliest tokens at each position."""
        return self._tops(message.token_ids, message.logprobs, self._request.top_n_tokens)

    def _note_prompt(self, news: pb.PromptLogprobs) -> None:
        """What the model makes of the prompt from position `news.start` on."""
        places = slice(news.start, news.start + len(news.logprobs))
        self._prompt_logprobs[places] = news.logprobs
        if news.top_token_ids:
            width = self._request.num_prompt_top_tokens
            self._prompt_tops[places] = self._tops(news.top_token_ids, news.top_logprobs, width)

    def _tops(
        self, token_ids: Iterable[int], logprobs: Iterable[float], width: int
    ) -> list[tuple[TopToken, ...]]:
        """Flat arrays as `width` tokens for each position."""
        pairs = zip(token_ids, logprobs, strict=True)
        tops = [self._top_token(token_id, logprob) for token_id, logprob in pairs]
        return [tuple(tops[start : start + width]) for start in range(0, len(tops), width)]

    def _top_token(self, token_id: int, logprob: float) -> TopToken:
        return TopToken(
            token_id=token_id,
            text=self._tokenizer.text(token_id),
            logprob=logprob,
            is_special=self._tokenizer.is_special(token_id),
        )

    def _finish(self, reason: FinishReason) -> Finish:
        now = self._clock()
        started_at = now if self._started_at is None else self._started_at
        return Finish(
            reason=reason,
            generated_text="".join(self._texts),
            num_generated_tokens=len(self._texts),
            prompt_logprobs=tuple(self._prompt_logprobs),
            prompt_top_tokens=tuple(self._prompt_tops),
            num_cached_tokens=self.sequence.num_cached_tokens,
            is_shortened=self.sequence.has_shortened,
            queue_seconds=started_at - self._submitted_at,
            inference_seconds=now - started_at,
        )


def _no_logprobs(request: GenerationRequest) -> list[float | None]:
    num_wanted = len(request.prompt.token_ids) if request.wants_prompt_logprobs else 0
    return [None] * num_wanted
