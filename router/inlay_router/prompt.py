"""From the text of a request to a prompt in token ids, with its images fetched and prepared."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from inlay_proto import generate_pb2 as pb
from inlay_router.config import Limits
from inlay_router.errors import ValidationError
from inlay_router.fetch import Fetcher
from inlay_router.generation import Generation
from inlay_router.images import ImageLimits, check_image, read_data_uri
from inlay_router.markdown import ImagePiece, TextPiece, split
from inlay_router.request import ImagePlace, Prompt
from inlay_router.tasks import together

_NUM_SHORT = 4096
"""Characters of a text that is tokenised at once; a longer one would delay other streams."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptReader:
    """Makes prompts. What takes long runs in `executor`, or on the network."""

    generation: Generation
    fetcher: Fetcher
    executor: Executor
    """Threads that decode images and tokenise long texts."""
    limits: Limits
    image_limits: ImageLimits

    async def read(self, inputs: str, *, truncate: int | None = None) -> Prompt:
        """The prompt for `inputs`; of a longer one the last `truncate` tokens.

        Markdown images are images when the model takes them, else text.
        Raises ValidationError for an image that cannot be had or used.
        """
        pieces = split(inputs) if self.limits.takes_images else []
        num_images = sum(isinstance(piece, ImagePiece) for piece in pieces)
        if num_images == 0:
            token_ids = await self._tokenise(inputs)
            return Prompt(token_ids=tuple(token_ids[-truncate:] if truncate else token_ids))
        if num_images > self.limits.max_images:
            raise ValidationError(
                f"`inputs` may hold up to {self.limits.max_images} images. Given: {num_images}"
            )
        return _truncated(await self._prepare(pieces), truncate)

    async def _tokenise(self, text: str) -> list[int]:
        tokenizer = self.generation.tokenizer
        if len(text) <= _NUM_SHORT:
            return tokenizer.encode(text)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.executor, tokenizer.encode, text)

    async def _prepare(self, pieces: Sequence[TextPiece | ImagePiece]) -> Prompt:
        chunks = await together(self._chunk(piece) for piece in pieces)
        request = pb.PrepareRequest(chunks=chunks, add_special_tokens=True)
        reply = await self.generation.prepare(request)
        return Prompt(
            token_ids=tuple(reply.token_ids),
            places=tuple(
                ImagePlace(start=place.start, end=place.start + place.length)
                for place in reply.images
            ),
            features_key=reply.features_key,
            preparation=request,
        )

    async def _chunk(self, piece: TextPiece | ImagePiece) -> pb.Chunk:
        if isinstance(piece, TextPiece):
            return pb.Chunk(text=piece.text)
        loop = asyncio.get_running_loop()
        if piece.url[:5].lower() == "data:":
            data = await loop.run_in_executor(self.executor, read_data_uri, piece.url)
        else:
            data = await self.fetcher.fetch(piece.url)
        image = await loop.run_in_executor(self.executor, check_image, data, self.image_limits)
        return pb.Chunk(image=image)


def _truncated(prompt: Prompt, truncate: int | None) -> Prompt:
    if truncate is None or len(prompt.token_ids) <= truncate:
        return prompt
    raise ValidationError(
        f"`truncate` must be >= {len(prompt.token_ids)}, the tokens of this prompt: a prompt with "
        f"images is never cut. Given: {truncate}"
    )
