"""Whether the budget of an answer can hold what its grammar demands, and how shards keep to it."""

from collections.abc import Sequence

from inlay_proto import generate_pb2 as pb
from inlay_router.errors import ValidationError


def finishing_of(
    first_plan: Sequence[int] | None, max_new_tokens: int, budget_name: str = "max_new_tokens"
) -> pb.Finishing | None:
    """What shards need to complete an answer within `max_new_tokens`.

    None when it is not known how answers in the grammar end: such an answer may be cut off.

    Args:
        first_plan: tokens of a short complete answer, as the compile pool found them.
        max_new_tokens: of the request.
        budget_name: what the client calls them.

    Raises:
        ValidationError: the answer cannot be complete.
    """
    if first_plan is None:
        return None
    if len(first_plan) > max_new_tokens:
        raise ValidationError(
            f"`{budget_name}` must be >= {len(first_plan)}: the shortest answer found in the "
            f"`grammar` has as many tokens. Given: {max_new_tokens}"
        )
    return pb.Finishing(first_plan=first_plan)
