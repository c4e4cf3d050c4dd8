"""Pictures of a program reach the engine without a loss."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load

from inlay.offline.pictures import data_uri, embeds_pieces, is_picture, is_tensor
from inlay_shard.images.pictures import read_picture, to_rgb


def noise(mode: str) -> Image.Image:
    values = np.random.default_rng(1).integers(0, 256, (12, 17, 4), dtype=np.uint8)
    return Image.fromarray(values, "RGBA").convert(mode)


def read_back(uri: str) -> Image.Image:
    return read_picture(base64.b64decode(uri.partition(",")[2]))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1", "LA", "CMYK"])
def test_every_mode_is_seen_as_the_picture_itself(mode: str) -> None:
    picture = noise(mode)
    assert np.array_equal(np.asarray(read_back(data_uri(picture))), np.asarray(to_rgb(picture)))


def test_a_picture_is_turned_as_its_camera_was() -> None:
    picture = noise("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    picture.save(file, "PNG", exif=exif)
    turned = Image.open(file)
    assert read_back(data_uri(turned)).size == (12, 17)
    expected = np.asarray(read_picture(file.getvalue()))
    assert np.array_equal(np.asarray(read_back(data_uri(turned))), expected)


def test_embeddings_become_a_file_for_each_image() -> None:
    embeds = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    pieces = embeds_pieces(embeds)
    found = [load(piece.data)["image_embeds"] for piece in pieces if isinstance(piece.data, bytes)]
    assert torch.equal(torch.stack(found), embeds)
    (alone,) = embeds_pieces(embeds[0])
    assert alone == pieces[0]


def test_embeddings_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Given: \(4,\)"):
        embeds_pieces(torch.zeros(4))


def test_pictures_and_tensors_are_told_apart() -> None:
    assert is_picture(noise("RGB")) and not is_picture(torch.zeros(1))
    assert is_tensor(torch.zeros(1)) and not is_tensor(noise("RGB"))
    assert not is_picture("picture") and not is_tensor([1.0])
