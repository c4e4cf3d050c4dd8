"""A scripted shard that dies of what it reads."""

from collections.abc import Callable

from inlay_router.links.link import LinkLost
from inlay_router.links.scripted_shard import Choose


def dying(when: Callable[[list[int]], bool], choose: Choose) -> Choose:
    """`choose`, but the shard dies when it reads a context for which `when` holds."""

    def choose_or_die(token_ids: list[int], num_prompt_tokens: int) -> int:
        if when(token_ids):
            raise LinkLost("the shard died in a step")
        return choose(token_ids, num_prompt_tokens)

    return choose_or_die
