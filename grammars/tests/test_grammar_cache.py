"""The cache is bounded and forgets the value that was not used for longest."""

from inlay_grammars.cache import RecentlyUsed


def test_forgets_what_was_used_least_recently() -> None:
    cache: RecentlyUsed[str] = RecentlyUsed(2)
    cache.put(b"a", "1")
    cache.put(b"b", "2")
    assert cache.get(b"a") == "1"
    cache.put(b"c", "3")
    assert (cache.get(b"a"), cache.get(b"b"), cache.get(b"c")) == ("1", None, "3")
    assert len(cache) == 2


def test_an_empty_value_is_a_value() -> None:
    cache: RecentlyUsed[str] = RecentlyUsed(1)
    cache.put(b"a", "")
    assert cache.get(b"a") == ""
