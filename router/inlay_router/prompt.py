"""From the text of a request to a prompt in token ids, with its images fetched and prepared."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TypeAlias

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.generation import Generation
from inlay_router.config import Limits
from inlay_router.errors import ValidationError
from inlay_router.images import local_images
from inlay_router.images.fetch import Fetcher
from inlay_router.images.image_embeds import (
    EMBEDS_REFUSED,
    EmbedsLimits,
    EmbedsPiece,
    SeenPiece,
    is_embeds_uri,
    read_image_embeds,
)
from inlay_router.images.inspection import ImageBudget, ImageCheck, read_data_uri
from inlay_router.images.local_images import read_local_image
from inlay_router.markdown import ImagePiece, TextPiece, split
from inlay_router.request import ImagePlace, Prompt
from inlay_router.tasks import together
from inlay_router.telemetry.image_metrics import ImageMetrics
from inlay_router.telemetry.stages import keep_preparation, stage
from inlay_router.text.typed import TypedTokens

Encode: TypeAlias = Callable[[str], list[int]]
"""From a text to token ids."""

_NUM_SHORT = 4096
"""Characters of a text that is tokenised at once; a longer one would delay other streams."""

_NUM_TOKENS_AROUND = 64
"""Where a text is cut, this many tokens may differ from those of the whole text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptReader:
    """Makes prompts. What takes long runs in `executor`, or on the network."""

    generation: Generation
    fetcher: Fetcher
    executor: Executor
    """Threads that check images and tokenise long texts."""
    limits: Limits
    image_check: ImageCheck
    image_metrics: ImageMetrics
    typed: TypedTokens
    """What is text in `inputs`, though the tokenizer knows it as a token."""
    local_images: Path | None = None
    """Folder that `file:` URLs may read from; None for no such URLs."""
    has_image_embeds: bool = False
    """Whether the data of a data URI may be embeddings."""

    async def read(self, inputs: str, *, truncate: int | None = None) -> Prompt:
        """The prompt for what a client typed; of a longer one the last `truncate` tokens.

        Markdown images are images when the model takes them, else text.
        Raises ValidationError for an image that cannot be had or used.
        """
        pieces: list[TextPiece | ImagePiece] = [TextPiece(inputs)]
        if self.limits.takes_images:
            pieces = split(
                inputs,
                max_images=self.limits.max_images,
                has_local_images=self.local_images is not None,
            )
        if not any(isinstance(piece, ImagePiece) for piece in pieces):
            return await self._read_text(inputs, self._encode_typed, truncate)
        prompt = await self.read_pieces([self._broken(piece) for piece in pieces])
        num_tokens = len(prompt.token_ids)
        if truncate is None or num_tokens <= truncate:
            return prompt
        return await self._cut(prompt, num_tokens - truncate)

    async def read_pieces(
        self, pieces: Sequence[TextPiece | SeenPiece], *, add_special_tokens: bool = True
    ) -> Prompt:
        """The prompt of texts and one or more images, or embeddings in their stead.

        Raises ValidationError for an image that cannot be had or used.
        """
        self._check_length(sum(len(p.text) for p in pieces if isinstance(p, TextPiece)))
        budget = ImageBudget(self.image_check.limits)
        chunks = list(chain(*await together(self._chunks(piece, budget) for piece in pieces)))
        num_images = sum(chunk.WhichOneof("content") != "text" for chunk in chunks)
        if num_images > self.limits.max_images:
            raise ValidationError(
                f"a prompt may hold up to {self.limits.max_images} images. Given: {num_images}"
            )
        return await self._prepare(
            pb.PrepareRequest(chunks=chunks, add_special_tokens=add_special_tokens)
        )

    async def read_parts(self, parts: Sequence[tuple[str, bool]]) -> Prompt:
        """The prompt of texts that hold all its special tokens; a text with True has none."""
        num_characters = sum(len(text) for text, _ in parts)
        self._check_length(num_characters)
        encode = partial(self.generation.tokenizer.encode_parts, parts)
        if num_characters <= _NUM_SHORT:
            return Prompt(token_ids=tuple(encode()))
        loop = asyncio.get_running_loop()
        return Prompt(token_ids=tuple(await loop.run_in_executor(self.executor, encode)))

    async def read_text(self, text: str) -> Prompt:
        """The prompt of a text without images, in which every token is recognised."""
        return await self._read_text(text, self.generation.tokenizer.encode, None)

    def spans(self, inputs: str) -> list[tuple[int, int, int]]:
        """Id, start and end of every token of a prompt without images; see `Tokenizer.spans`."""
        pieces = self.typed.pieces(inputs)
        tokenizer = self.generation.tokenizer
        return tokenizer.spans(inputs) if len(pieces) == 1 else tokenizer.spans_of(pieces)

    async def _read_text(self, text: str, encode: Encode, truncate: int | None) -> Prompt:
        if truncate is None:
            self._check_length(len(text))
            return Prompt(token_ids=tuple(await self._tokenise(text, encode)))
        # More than enough for the tokens that are kept, and little enough for the memory.
        num_kept = (truncate + _NUM_TOKENS_AROUND) * self.generation.tokenizer.max_token_length
        return Prompt(token_ids=tuple(await self._tokenise(text[-num_kept:], encode))[-truncate:])

    def _encode_typed(self, inputs: str) -> list[int]:
        if len(self.typed.pieces(inputs)) == 1:
            return self.generation.tokenizer.encode(inputs)
        return [token_id for token_id, _, _ in self.spans(inputs)]

    def _broken(self, piece: TextPiece | ImagePiece) -> TextPiece | ImagePiece:
        """For the model's processor, which is given a text."""
        return piece if isinstance(piece, ImagePiece) else TextPiece(self.typed.broken(piece.text))

    def _check_length(self, num_characters: int) -> None:
        """Refuse what cannot fit before time and memory go into its tokens."""
        num_tokens = math.ceil(num_characters / self.generation.tokenizer.max_token_length)
        if num_tokens > self.limits.max_total_tokens:
            raise ValidationError(
                f"`inputs` must have less than {self.limits.max_input_tokens} tokens. "
                f"Given: at least {num_tokens}"
            )

    async def _tokenise(self, text: str, encode: Encode) -> list[int]:
        if len(text) <= _NUM_SHORT:
            return encode(text)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.executor, encode, text)

    async def _prepare(self, request: pb.PrepareRequest) -> Prompt:
        begun = time.perf_counter()
        reply = await self.generation.prepare(request)
        self.image_metrics.prepared(reply)
        keep_preparation(begun, reply.timings)
        return Prompt(
            token_ids=tuple(reply.token_ids),
            places=tuple(
                ImagePlace(start=place.start, end=place.start + place.length, digest=place.digest)
                for place in reply.images
            ),
            features_key=reply.features_key,
            preparation=request,
        )

    async def _cut(self, prompt: Prompt, num_cut: int) -> Prompt:
        """`prompt` without its first `num_cut` tokens, all of which are text before any image.

        Shards know where the images of a prompt stand, so the rest is prepared as a prompt of its
        own. Raises ValidationError when the rest would not be the same tokens.
        """
        assert prompt.preparation is not None
        first, *others = prompt.preparation.chunks
        if first.WhichOneof("content") == "text":
            tokenizer = self.generation.tokenizer
            text_ids = await self._tokenise(first.text, tokenizer.encode)
            text = tokenizer.decode(text_ids[num_cut:])
            chunks = [pb.Chunk(text=text), *others] if text else others
            rest = await self._prepare(pb.PrepareRequest(chunks=chunks))
            if rest.token_ids == prompt.token_ids[num_cut:]:
                return rest
        raise ValidationError(
            f"`truncate` must not cut into an image: the first of {len(prompt.places)} ends at "
            f"token {prompt.places[0].end} of {len(prompt.token_ids)}. "
            f"Given: {len(prompt.token_ids) - num_cut}"
        )

    async def _chunks(self, piece: TextPiece | SeenPiece, budget: ImageBudget) -> list[pb.Chunk]:
        if isinstance(piece, TextPiece):
            return [pb.Chunk(text=piece.text)]
        if isinstance(piece, ImagePiece) and not is_embeds_uri(piece.url):
            return [await self._image(piece, budget)]
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self.executor, self._embeds, piece)
        return [pb.Chunk(embeds=embeds) for embeds in found]

    def _embeds(self, piece: SeenPiece) -> list[pb.ImageEmbeds]:
        if isinstance(piece, ImagePiece):
            if not self.has_image_embeds:
                raise ValidationError(EMBEDS_REFUSED)
            piece = EmbedsPiece(read_data_uri(piece.url))
        limits = EmbedsLimits(
            max_bytes=self.image_check.limits.max_bytes,
            max_images=self.limits.max_images,
            max_tokens=self.limits.max_input_tokens,
        )
        return read_image_embeds(piece, limits)

    async def _image(self, piece: ImagePiece, budget: ImageBudget) -> pb.Chunk:
        loop = asyncio.get_running_loop()
        scheme = piece.url[:5].lower()
        if scheme == "data:":
            data = await loop.run_in_executor(self.executor, read_data_uri, piece.url)
            budget.spend_bytes(len(data))
        elif scheme == local_images.SCHEME and self.local_images is not None:
            read = partial(read_local_image, piece.url, self.local_images, self.image_check.limits)
            data = await loop.run_in_executor(self.executor, read)
            budget.spend_bytes(len(data))
        else:
            with self.image_metrics.fetch.time(), stage("image_fetch"):
                data = await self.fetcher.fetch(piece.url, budget)
        check = partial(self.image_check.check, data, budget)
        with self.image_metrics.check.time(), stage("image_check"):
            image = await loop.run_in_executor(self.executor, check)
        return pb.Chunk(image=image)
