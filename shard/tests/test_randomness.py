"""The counter-based random numbers, held against the published vectors."""

import numpy as np
import pytest

from inlay_shard.sampling.randomness import philox, uniforms

KNOWN_ANSWERS = [
    # counter, key, output: kat_vectors of Random123, "philox4x32 10".
    ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, 2**64 - 1, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        0x299F31D0_A4093822,
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_published_words(
    counter: tuple[int, ...], key: int, expected: tuple[int, ...]
) -> None:
    assert tuple(int(word) for word in philox(counter, key)) == expected


def test_philox_broadcasts() -> None:
    many = philox((np.arange(5)[:, None], 7, 0, 0), np.array([3, 2**63 + 1], np.uint64))
    assert many[0].shape == (5, 2)
    one = philox((4, 7, 0, 0), 2**63 + 1)
    assert [word[4, 1] for word in many] == [int(word) for word in one]


def test_a_uniform_depends_on_its_own_seed_and_position_only() -> None:
    crowd = uniforms([5, 2**64 - 1, 5], [0, 17, 3])
    assert crowd[1] == uniforms([2**64 - 1], [17])[0]
    assert len(set(crowd.tolist())) == 3


def test_uniforms_fill_the_unit_interval_evenly() -> None:
    numbers = uniforms(np.full(4000, 11), np.arange(4000))
    assert numbers.min() >= 0.0
    assert numbers.max() < 1.0
    counts = np.histogram(numbers, bins=20, range=(0.0, 1.0))[0]
    # Chi-square with 19 degrees of freedom: above 43.8 once in a thousand seeds.
    assert ((counts - 200.0) ** 2 / 200.0).sum() < 43.8
