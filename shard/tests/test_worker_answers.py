"""What a process that decodes strangers' images may say to the shard."""

import os
import pickle
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inlay_shard.errors import PreparationRefused
from inlay_shard.images.frames import Frame
from inlay_shard.images.image_process import Answer
from inlay_shard.images.preparation import Expansion, Prepared
from inlay_shard.images.recipe import Recipe
from inlay_shard.images.worker_answers import UnknownAnswer, read_answer
from inlay_shard.machine.shared_arrays import Layout

ARRAY = np.arange(5, dtype=np.int64)
FRAME = Frame(before=(1, 2), behind=(), num_places=None)
RECIPE = Recipe(image_token="<image>", marker_id=1, image_token_id=2, frame=FRAME)


def said(value: object) -> bytes:
    """As `Connection.send` writes it."""
    return bytes(ForkingPickler.dumps(value))


@pytest.mark.parametrize(
    "value",
    [
        True,
        RECIPE,
        Expansion(token_ids=ARRAY, token_types={"t": ARRAY}, num_places=1, inputs={}),
        Prepared(token_ids=ARRAY, places=ARRAY, spans=[(0, 1)], inputs={"a": ARRAY[:0]}),
    ],
)
def test_what_workers_say_is_understood(value: object) -> None:
    layouts = [Layout(name="a", shape=(1, 2), dtype="<f4", offset=0)]
    answer = read_answer(said(Answer(value, layouts)))
    assert type(answer.value) is type(value)
    assert answer.layouts == layouts
    assert repr(answer.value) == repr(value)


def test_arrays_and_numbers_of_numpy() -> None:
    assert read_answer(said(np.float32(1.5))) == 1.5
    for array in (ARRAY, np.zeros((2, 3), np.float32), ARRAY[::2]):
        assert np.array_equal(read_answer(said(array)), array)


@pytest.mark.parametrize("error", [PreparationRefused("no"), RuntimeError("OSError: no model")])
def test_refusals_keep_their_words(error: Exception) -> None:
    answer = read_answer(said(error))
    assert type(answer) is type(error)
    assert str(answer) == str(error)


class Order:
    """What its reader would do."""

    def __init__(self, *order: Any) -> None:
        self._order = order

    def __reduce__(self) -> tuple[Any, ...]:
        function, *arguments = self._order
        return function, tuple(arguments)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_order_is_carried_out(protocol: int, tmp_path: Path) -> None:
    orders = [
        Order(os.system, f"touch {tmp_path}/done"),
        Order(eval, "1"),
        Order(getattr, "text", "upper"),
        Order(np.load, str(tmp_path / "a.npy"), None, True),
    ]
    for order in orders:
        for hidden in (order, [order], np.array([order], dtype=object), Answer(order, [])):
            with pytest.raises(UnknownAnswer):
                read_answer(pickle.dumps(hidden, protocol))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"rubbish", said(ARRAY)[:-20], b"\x80\x05(((("])
def test_rubbish_is_no_answer(data: bytes) -> None:
    with pytest.raises(UnknownAnswer):
        read_answer(data)
