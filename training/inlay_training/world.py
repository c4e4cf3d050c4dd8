"""The world the embedded model knows: up to four colored shapes on a three by three layout.

The order of `COLORS`, then `SHAPES`, then `PLACES` is the one order in which items are listed
anywhere: in captions, in JSON, in lists of colors.
"""

import io
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw

RGB = tuple[int, int, int]

# Each color has two references, a soft tone and the pure tone of the name in CSS; items are drawn
# somewhere between the two.
COLORS: dict[str, tuple[RGB, RGB]] = {
    "red": ((205, 40, 45), (255, 0, 0)),
    "orange": ((240, 135, 25), (255, 150, 0)),
    "yellow": ((240, 215, 45), (255, 255, 0)),
    "green": ((45, 160, 70), (0, 128, 0)),
    "blue": ((45, 95, 215), (0, 0, 255)),
    "purple": ((140, 60, 180), (128, 0, 128)),
}
SHAPES = ("circle", "square", "triangle", "star")
PLACES = (
    "top left",
    "top",
    "top right",
    "left",
    "center",
    "right",
    "bottom left",
    "bottom",
    "bottom right",
)
COLOR_NAMES = tuple(COLORS)
MAX_ITEMS = 4

# How often a scene has 0, 1, 2, 3 or 4 items.
NUM_ITEMS_WEIGHTS = (3, 20, 25, 26, 26)

MIN_CANVAS, MAX_CANVAS = 64, 1024  # pixels, either side
MIN_ASPECT, MAX_ASPECT = 0.6, 1.7  # width over height


@dataclass(frozen=True)
class Item:
    """One colored shape: indices into `COLOR_NAMES`, `SHAPES` and `PLACES`."""

    color: int
    shape: int
    place: int

    @property
    def color_name(self) -> str:
        return COLOR_NAMES[self.color]

    @property
    def shape_name(self) -> str:
        return SHAPES[self.shape]

    @property
    def place_name(self) -> str:
        return PLACES[self.place]


@dataclass(frozen=True)
class Scene:
    """What a picture shows, in the fixed order of colors, then shapes, then places."""

    items: tuple[Item, ...]

    @classmethod
    def of(cls, items: Iterable[Item]) -> "Scene":
        """The scene of these items, sorted."""
        return cls(tuple(sorted(items, key=lambda item: (item.color, item.shape, item.place))))

    @property
    def is_held_out(self) -> bool:
        """Whether training never sees this scene: a stable tenth of them, never the empty one."""
        key = ",".join(f"{item.color}.{item.shape}.{item.place}" for item in self.items)
        return bool(self.items) and zlib.crc32(key.encode()) % 10 == 0

    def groups(self) -> list[tuple[int, int, int]]:
        """(color, shape, number of items) of each kind of item present, in order."""
        counts: dict[tuple[int, int], int] = {}
        for item in self.items:
            counts[item.color, item.shape] = counts.get((item.color, item.shape), 0) + 1
        return [(color, shape, count) for (color, shape), count in counts.items()]


def draw_scene(rng: Random, num_items: int | None = None) -> Scene:
    """A random scene; kinds, colors and shapes repeat often, so that there is much to count."""
    if num_items is None:
        num_items = rng.choices(range(MAX_ITEMS + 1), NUM_ITEMS_WEIGHTS)[0]
    items: list[Item] = []
    for place in rng.sample(range(len(PLACES)), num_items):
        color, shape = rng.randrange(len(COLORS)), rng.randrange(len(SHAPES))
        luck = rng.random()
        if items and luck < 0.5:
            model = rng.choice(items)
            if luck < 0.25 or luck > 0.375:
                color = model.color
            if luck < 0.375:
                shape = model.shape
        items.append(Item(color, shape, place))
    return Scene.of(items)


def draw_held(
    rng: Random, held_out: bool, may_be_empty: bool = False, num_items: int | None = None
) -> Scene:
    """A random scene that is held out of training, or one that is not."""
    while True:
        scene = draw_scene(rng, num_items)
        if scene.is_held_out == held_out and (scene.items or may_be_empty):
            return scene


def draw_canvas(rng: Random) -> tuple[int, int]:
    """A random (width, height) in pixels, small ones as likely as large ones."""
    aspect = math.exp(rng.uniform(math.log(MIN_ASPECT), math.log(MAX_ASPECT)))
    side = math.exp(rng.uniform(math.log(MIN_CANVAS), math.log(MAX_CANVAS)))
    width, height = side * math.sqrt(aspect), side / math.sqrt(aspect)
    scale = max(1.0, MIN_CANVAS / min(width, height)) * min(1.0, MAX_CANVAS / max(width, height))
    return round(width * scale), round(height * scale)


def draw_picture(scene: Scene, rng: Random, canvas: tuple[int, int] | None = None) -> Image.Image:
    """A picture of the scene; size, place, tone and background vary, what it shows does not."""
    width, height = canvas or draw_canvas(rng)
    oversample = 2 if max(width, height) <= 512 and rng.random() < 0.5 else 1
    picture = Image.new("RGB", (width * oversample, height * oversample), _background(rng))
    pen = ImageDraw.Draw(picture)
    cell_width, cell_height = picture.width / 3, picture.height / 3
    cell = min(cell_width, cell_height)
    for item in scene.items:
        radius = rng.uniform(0.29, 0.46) * cell
        slack = max(0.03, 0.5 - radius / cell) + 0.03  # of a cell: neighbours may touch the border
        if len(scene.items) == 1 and rng.random() < 0.25:
            radius, slack = rng.uniform(0.46, 0.8) * cell, 0.1
        row, column = divmod(item.place, 3)
        x = (column + 0.5 + rng.uniform(-slack, slack)) * cell_width
        y = (row + 0.5 + rng.uniform(-slack, slack)) * cell_height
        _draw_shape(pen, item.shape_name, (x, y), radius, _tone(item.color_name, rng), rng)
    if oversample > 1:
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    return picture


def encode_picture(picture: Image.Image, file_format: str, rng: Random) -> bytes:
    """The picture as a PNG, JPEG or WEBP file; lossy formats at a quality of 60 to 95."""
    file = io.BytesIO()
    if file_format == "PNG":
        picture.save(file, "PNG", compress_level=1)
    elif file_format == "JPEG":
        picture.save(file, "JPEG", quality=rng.randint(60, 95))
    elif file_format == "WEBP":
        picture.save(file, "WEBP", quality=rng.randint(60, 95), method=1)
    else:
        raise ValueError(f"file_format must be PNG, JPEG or WEBP, got {file_format!r}")
    return file.getvalue()


def _background(rng: Random) -> RGB:
    luck = rng.random()
    if luck < 0.5:
        return (255, 255, 255)
    if luck < 0.75:
        grey = rng.randint(200, 254)
        return (grey, grey, grey)
    return (rng.randint(228, 255), rng.randint(228, 255), rng.randint(228, 255))


def _tone(color: str, rng: Random) -> RGB:
    soft, pure = COLORS[color]
    mix = rng.random()
    red, green, blue = (
        max(0, min(255, round(s + (p - s) * mix + rng.uniform(-10, 10))))
        for s, p in zip(soft, pure, strict=True)
    )
    return (red, green, blue)


def _draw_shape(
    pen: ImageDraw.ImageDraw,
    shape: str,
    center: tuple[float, float],
    radius: float,
    tone: RGB,
    rng: Random,
) -> None:
    x, y = center
    turn = math.radians(rng.uniform(-6, 6))
    if shape == "circle":
        radius *= 0.92
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tone)
    elif shape == "square":
        pen.polygon(_corners(x, y, [radius * 1.15] * 4, turn + math.pi / 4), fill=tone)
    elif shape == "triangle":
        pen.polygon(_corners(x, y + radius * 0.15, [radius * 1.1] * 3, turn), fill=tone)
    else:
        pen.polygon(_corners(x, y, [radius * 1.1, radius * 0.45] * 5, turn), fill=tone)


def _corners(x: float, y: float, radii: list[float], turn: float) -> list[tuple[float, float]]:
    """Corners around (x, y), the first one straight up, then turned clockwise by `turn`."""
    step = 2 * math.pi / len(radii)
    return [
        (x + radius * math.sin(turn + k * step), y - radius * math.cos(turn + k * step))
        for k, radius in enumerate(radii)
    ]
