"""Rows of different lengths laid out as one flattened batch."""

import numpy as np
import torch

from inlay_proto import generate_pb2 as pb
from inlay_shard.images.features import EmbeddedImage, Features, Placement
from inlay_shard.steps.batch import Row, flatten
from inlay_shard.steps.sequence import BlockTable, RunningSequence


def row(
    token_ids: list[int], block_ids: list[int], start: int, features: Features | None = None
) -> Row:
    message = pb.Sequence(
        sequence_id=1, token_ids=token_ids, num_prompt_tokens=len(token_ids), max_new_tokens=9
    )
    sequence = RunningSequence.from_message(message, features, None)
    sequence.blocks.append(block_ids)
    return Row(sequence, start, len(token_ids))


def test_a_prefill_beside_a_decode() -> None:
    rows = [row([10, 11, 12, 13, 14], [7, 2, 5], 1), row([20, 21, 22], [4], 2)]
    batch = flatten(rows, block_size=4, num_axes=1)
    assert batch.token_ids.tolist() == [11, 12, 13, 14, 22]
    assert batch.position_ids.tolist() == [[1, 2, 3, 4, 2]]
    assert batch.attention.row_starts.tolist() == [0, 4, 5]
    assert batch.attention.context_lengths.tolist() == [5, 3]
    assert batch.attention.block_tables.tolist() == [[7, 2], [4, 0]]
    assert batch.attention.slots.tolist() == [29, 30, 31, 8, 18]
    assert batch.kept.tolist() == [3, 4]
    assert batch.image_features is None


def test_images_stand_at_their_places_of_the_batch() -> None:
    image = EmbeddedImage(embeddings=torch.tensor([[1.0], [2.0], [3.0]]))
    positions = np.array([[0, 1, 1, 1, 2]] * 3, np.int64)
    placement = Placement(places=np.array([1, 2, 3], np.int64), prompt_positions=positions)
    seen = row([5, 9, 9, 9, 6], [0, 1], 2, Features([image], placement))
    batch = flatten([row([30], [3], 0), seen], block_size=4, num_axes=3)
    assert batch.position_ids.tolist() == [[0, 1, 1, 2]] * 3
    assert batch.image_places.tolist() == [1, 2]
    assert batch.image_features is not None
    assert batch.image_features.flatten().tolist() == [2.0, 3.0]


def test_block_table_grows() -> None:
    table = BlockTable()
    table.append(range(10))
    table.append(range(100, 140))
    assert len(table) == 50
    assert table.block_ids.tolist() == [*range(10), *range(100, 140)]
