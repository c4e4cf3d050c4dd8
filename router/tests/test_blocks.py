"""The account of KV blocks."""

import pytest

from inlay_router.blocks import BlockPool


def a_pool() -> BlockPool:
    return BlockPool(num_blocks=4, block_size=16)


def test_each_block_is_given_once() -> None:
    pool = a_pool()
    assert sorted(pool.allocate(1) + pool.allocate(3)) == [0, 1, 2, 3]
    assert (pool.num_free, pool.num_used) == (0, 4)


def test_blocks_given_back_can_be_had_again() -> None:
    pool = a_pool()
    block_ids = pool.allocate(3)
    assert not pool.can_allocate(2)
    pool.free(block_ids)
    assert pool.can_allocate(4)
    assert sorted(pool.allocate(4)) == [0, 1, 2, 3]


def test_the_last_block_is_rounded_up() -> None:
    assert [a_pool().num_blocks_for(n) for n in (0, 1, 16, 17, 32)] == [0, 1, 1, 2, 2]


def test_taking_more_than_there_is_shows_the_pool() -> None:
    with pytest.raises(AssertionError, match=r"5 blocks of BlockPool\(4 of 4 blocks of 16 free\)"):
        a_pool().allocate(5)


def test_giving_a_block_back_twice_is_noticed() -> None:
    pool = a_pool()
    block_ids = pool.allocate(1)
    pool.free(block_ids)
    with pytest.raises(AssertionError, match="block 0 of .* is free already"):
        pool.free(block_ids)
