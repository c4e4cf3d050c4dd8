"""The account of KV blocks: owned, idle or blank."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inlay_router.batching.blocks import BlockPool


def a_pool() -> BlockPool:
    return BlockPool(num_blocks=4, block_size=16)


def published(pool: BlockPool, *keys: bytes) -> list[int]:
    """Blocks that can be found under the keys, owned once."""
    block_ids = pool.allocate(len(keys))
    for block_id, key in zip(block_ids, keys, strict=True):
        pool.publish(block_id, key)
    return block_ids


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
    with pytest.raises(AssertionError, match=r"5 blocks of BlockPool\(4 of 4 blocks of 16 free"):
        a_pool().allocate(5)


def test_giving_a_block_back_twice_is_noticed() -> None:
    pool = a_pool()
    block_ids = pool.allocate(1)
    pool.free(block_ids)
    with pytest.raises(AssertionError, match="block 0 of .* has no owner"):
        pool.free(block_ids)


def test_what_was_given_back_can_be_found_and_owned_again() -> None:
    pool = a_pool()
    block_ids = published(pool, b"a", b"b")
    pool.free(block_ids)
    assert (pool.num_free, pool.num_idle) == (4, 2)
    assert pool.find([b"a", b"b", b"c"]) == block_ids
    pool.share(block_ids)
    assert (pool.num_free, pool.num_idle) == (2, 0)
    assert pool.find([b"a"]) == block_ids[:1], "also while it is owned"


def test_nothing_is_found_behind_a_gap() -> None:
    pool = a_pool()
    (block_id,) = published(pool, b"b")
    assert pool.find([b"a", b"b"]) == []
    assert pool.find([b"b"]) == [block_id]


def test_a_shared_block_is_free_when_its_last_owner_gives_it_back() -> None:
    pool = a_pool()
    block_ids = published(pool, b"a")
    pool.share(block_ids)
    pool.free(block_ids)
    assert pool.num_used == 1
    pool.free(block_ids)
    assert pool.num_used == 0


def test_blank_blocks_go_first_then_those_idle_the_longest() -> None:
    pool = a_pool()
    old, young = published(pool, b"old"), published(pool, b"young")
    pool.free(old)
    pool.free(young)
    pool.allocate(2)
    assert pool.find([b"old"]) == old
    assert pool.allocate(1) == old
    assert (pool.find([b"old"]), pool.find([b"young"])) == ([], young)


def test_the_end_of_a_prefix_is_forgotten_before_its_beginning() -> None:
    pool = BlockPool(num_blocks=3, block_size=16)
    block_ids = published(pool, b"a", b"b", b"c")
    pool.free(block_ids)
    pool.allocate(1)
    assert pool.find([b"a", b"b", b"c"]) == block_ids[:2]


def test_being_used_again_keeps_a_block_from_being_forgotten() -> None:
    pool = BlockPool(num_blocks=2, block_size=16)
    first, second = published(pool, b"first"), published(pool, b"second")
    pool.free(first)
    pool.free(second)
    pool.share(first)
    pool.free(first)
    assert pool.allocate(1) == second


def test_idle_blocks_that_are_about_to_be_shared_do_not_count_as_free() -> None:
    pool = a_pool()
    block_ids = published(pool, b"a", b"b")
    pool.free(block_ids)
    assert pool.can_allocate(4)
    assert pool.can_allocate(2, beside=block_ids)
    assert not pool.can_allocate(3, beside=block_ids)


def test_of_two_blocks_with_the_same_content_the_first_is_found() -> None:
    pool = a_pool()
    first, second = published(pool, b"same"), published(pool, b"same")
    assert pool.find([b"same"]) == first
    pool.free(second)
    assert pool.num_idle == 0, "nobody would look for the second"


def test_a_forgotten_block_is_found_no_more() -> None:
    pool = a_pool()
    block_ids = published(pool, b"a")
    pool.forget(block_ids)
    assert pool.find([b"a"]) == []
    pool.free(block_ids)
    assert (pool.num_free, pool.num_idle) == (4, 0)


class Pool(RuleBasedStateMachine):
    """Random owners; what is found holds what was published."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = BlockPool(num_blocks=6, block_size=4)
        self.tables: list[list[int]] = []
        self.content: dict[int, bytes] = {}

    @rule(keys=st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), max_size=4, unique=True))
    def join(self, keys: list[bytes]) -> None:
        found = self.pool.find(keys)
        assert [self.content[block_id] for block_id in found] == keys[: len(found)]
        num_new = len(keys) - len(found)
        if not self.pool.can_allocate(num_new, beside=found):
            return
        self.pool.share(found)
        new = self.pool.allocate(num_new)
        owned = {block_id for table in self.tables for block_id in table} | set(found)
        assert not owned & set(new), "somebody has it"
        for block_id, key in zip(new, keys[len(found) :], strict=True):
            self.content[block_id] = key
            self.pool.publish(block_id, key)
        self.tables.append(found + new)

    @precondition(lambda self: self.tables)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.pool.free(self.tables.pop(data.draw(st.integers(0, len(self.tables) - 1))))

    @precondition(lambda self: self.tables)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        self.pool.forget(data.draw(st.sampled_from(self.tables)))

    @invariant()
    def every_block_is_owned_or_free(self) -> None:
        owned = {block_id for table in self.tables for block_id in table}
        assert self.pool.num_used == len(owned)
        assert 0 <= self.pool.num_idle <= self.pool.num_free


TestPool = Pool.TestCase
