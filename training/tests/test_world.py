"""The world is drawn the same way every time, and pictures show what their scene says."""

import io
from random import Random

import pytest
from PIL import Image

from inlay_training.world import (
    MAX_ASPECT,
    MAX_CANVAS,
    MIN_ASPECT,
    MIN_CANVAS,
    Item,
    Scene,
    draw_canvas,
    draw_held,
    draw_picture,
    draw_scene,
    encode_picture,
)


def test_the_same_seed_draws_the_same_picture() -> None:
    first, second = (
        draw_picture(draw_scene(rng), rng, (96, 80)).tobytes() for rng in (Random(5), Random(5))
    )
    assert first == second


def test_items_are_sorted_whatever_order_they_come_in() -> None:
    items = [Item(4, 1, 0), Item(0, 3, 8), Item(0, 0, 5)]
    assert Scene.of(items) == Scene.of(reversed(items)) == Scene((items[2], items[1], items[0]))


def test_groups_count_items_of_one_kind() -> None:
    scene = Scene.of([Item(4, 1, 0), Item(0, 0, 5), Item(4, 1, 7)])
    assert scene.groups() == [(0, 0, 1), (4, 1, 2)]


def test_a_tenth_of_the_scenes_is_held_out_and_stays_so() -> None:
    rng = Random(1)
    scenes = [draw_scene(rng, num_items=3) for _ in range(4000)]
    assert 0.08 < sum(scene.is_held_out for scene in scenes) / len(scenes) < 0.12
    assert not Scene(()).is_held_out
    assert Scene((Item(0, 0, 0),)).is_held_out is False
    assert all(draw_held(rng, held_out=True).is_held_out for _ in range(20))
    assert not any(draw_held(rng, held_out=False).is_held_out for _ in range(20))


def test_canvases_stay_within_their_limits() -> None:
    rng = Random(2)
    for _ in range(500):
        width, height = draw_canvas(rng)
        assert MIN_CANVAS <= min(width, height) <= max(width, height) <= MAX_CANVAS
        assert MIN_ASPECT * 0.98 <= width / height <= MAX_ASPECT * 1.02


@pytest.mark.parametrize("place", range(9))
def test_an_item_is_drawn_at_its_place(place: int) -> None:
    scene = Scene((Item(4, 0, place),))
    picture = draw_picture(scene, Random(place), (90, 90))
    row, column = divmod(place, 3)
    tones = {picture.getpixel((x * 30 + 15, y * 30 + 15)) for x in range(3) for y in range(3)}
    assert len(tones) == 2
    red, _, blue = picture.getpixel((column * 30 + 15, row * 30 + 15))  # type: ignore[misc]
    assert blue > red + 50


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_files_keep_the_size_of_the_picture(file_format: str) -> None:
    rng = Random(3)
    picture = draw_picture(draw_scene(rng), rng, (100, 70))
    opened = Image.open(io.BytesIO(encode_picture(picture, file_format, rng)))
    assert (opened.size, opened.format) == ((100, 70), file_format)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="GIF"):
        encode_picture(Image.new("RGB", (64, 64)), "GIF", Random(0))
