"""Prompts of one length that share no beginning, so that no cache can help either side."""

import base64
import io
from dataclasses import dataclass
from random import Random
from typing import Literal

from PIL import Image, ImageDraw

from inlay_bench.vocabulary import IMAGE, WORDS

Kind = Literal["text", "image"]

NUM_IMAGE_MARKS = 3  # two fake tokens around the picture, and one that names it whole
PICTURE_SIZE = (320, 240)  # pixels


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A question, with at most one picture in front of it."""

    text: str
    picture: bytes | None = None
    """A PNG file."""

    @property
    def markdown(self) -> str:
        """As an HTTP client sends it."""
        if self.picture is None:
            return self.text
        encoded = base64.b64encode(self.picture).decode("ascii")
        return f"![](data:image/png;base64,{encoded}){self.text}"

    @property
    def processor_text(self) -> str:
        """As the model's processor takes it."""
        return self.text if self.picture is None else IMAGE + self.text


def make_prompts(
    kind: Kind, num_prompts: int, num_tokens: int, num_image_tokens: int, seed: str
) -> list[Prompt]:
    """`num_prompts` different prompts of exactly `num_tokens` tokens, the same for the same seed.

    Raises ValueError when the picture leaves no place for a word.
    """
    random = Random(seed)
    num_words = num_tokens
    if kind == "image":
        num_words -= num_image_tokens + NUM_IMAGE_MARKS
    if num_words < 1:
        raise ValueError(f"a picture takes more than {num_tokens} tokens of prompt")
    return [make_prompt(kind, num_words, random) for _ in range(num_prompts)]


def make_prompt(kind: Kind, num_words: int, random: Random) -> Prompt:
    """One prompt; each word is one token."""
    text = " " + " ".join(random.choices(WORDS, k=num_words))
    return Prompt(text=text, picture=draw_picture(random) if kind == "image" else None)


def draw_picture(random: Random) -> bytes:
    """A PNG of coloured boxes."""
    picture = Image.new("RGB", PICTURE_SIZE, random_colour(random))
    canvas = ImageDraw.Draw(picture)
    for _ in range(12):
        left, top = random.randrange(PICTURE_SIZE[0]), random.randrange(PICTURE_SIZE[1])
        right, bottom = left + random.randrange(20, 120), top + random.randrange(20, 120)
        canvas.rectangle((left, top, right, bottom), fill=random_colour(random))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def random_colour(random: Random) -> tuple[int, int, int]:
    """Red, green, blue."""
    return random.randrange(256), random.randrange(256), random.randrange(256)
