"""Clients take turns, whoever came first and however much the others want."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from inlay_router.batching.batch_limits import BatchLimits
from inlay_router.batching.fair_queue import TOKENS_OF_A_TURN, FairQueue, num_turns
from inlay_router.batching.sequence import Sequence
from inlay_router.request import GenerationRequest, Prompt


def of_client(client_id: str, num_tokens: int = 10) -> Sequence:
    request = GenerationRequest(prompt=Prompt(token_ids=(1,)), max_new_tokens=num_tokens - 1)
    return Sequence.of(request, client_id)


def drain(queue: FairQueue) -> list[str]:
    return [queue.pop().client_id for _ in range(len(queue))]


def test_one_request_passes_a_thousand_of_another_client() -> None:
    queue = FairQueue()
    for _ in range(1000):
        queue.add(of_client("greedy"))
    queue.pop()
    queue.add(of_client("modest"))
    assert drain(queue).index("modest") <= 1


def test_a_client_s_own_requests_keep_their_order() -> None:
    queue = FairQueue()
    sequences = [of_client("one") for _ in range(5)]
    for sequence in sequences:
        queue.add(sequence)
    assert [queue.pop() for _ in sequences] == sequences


def test_equal_requests_alternate() -> None:
    queue = FairQueue()
    for client_id in "aaaabb":
        queue.add(of_client(client_id))
    assert "".join(drain(queue)) == "ababaa"


def test_large_requests_wait_for_as_many_rounds_as_they_cost() -> None:
    queue = FairQueue()
    for _ in range(2):
        queue.add(of_client("large", 4 * TOKENS_OF_A_TURN))
    for _ in range(6):
        queue.add(of_client("small"))
    assert drain(queue) == ["large", *["small"] * 4, "large", "small", "small"]


def test_leaving_and_coming_back_pays_no_debt() -> None:
    queue = FairQueue()
    queue.add(of_client("large", 4 * TOKENS_OF_A_TURN))
    for _ in range(6):
        queue.add(of_client("small"))
    queue.pop()
    queue.add(of_client("large"))
    assert drain(queue) == [*["small"] * 4, "large", "small", "small"]


def test_who_gave_way_comes_first() -> None:
    queue = FairQueue()
    queue.add(of_client("one"))
    first, second = of_client("first"), of_client("second")
    queue.put_back(second)
    queue.put_back(first)
    assert queue.head() is first
    queue.remove(first)
    assert drain(queue) == ["second", "one"]


def test_nothing_is_kept_of_clients_that_are_served() -> None:
    queue = FairQueue()
    queue.add(of_client("0"))
    for number in range(1, 2000):
        queue.add(of_client(str(number), 3 * TOKENS_OF_A_TURN))
        queue.pop()
    assert len(queue._turns) == len(queue._lines) < 10
    queue.pop()
    assert not queue._turns and not queue._lines
    assert queue.head() is None


def test_room_by_number_and_by_tokens() -> None:
    queue, limits = FairQueue(), BatchLimits(max_waiting=3, max_waiting_tokens=2)
    assert queue.has_room(of_client("a"), BatchLimits(max_waiting_tokens=0))
    for _ in range(2):
        assert queue.has_room(of_client("a"), limits)
        queue.add(of_client("a"))
    assert not queue.has_room(of_client("a"), limits)
    assert not queue.has_room(of_client("a"), BatchLimits(max_waiting=2))
    queue.pop()
    assert queue.has_room(of_client("a"), limits)


actions = st.one_of(
    st.tuples(st.sampled_from("abcdef"), st.integers(2, 9 * TOKENS_OF_A_TURN)),
    st.sampled_from(["pop", "remove", "put back"]),
)


@given(st.lists(actions, max_size=60))
def test_nothing_is_lost_doubled_or_miscounted(todo: list[tuple[str, int] | str]) -> None:
    queue = FairQueue()
    inside: list[Sequence] = []
    popped: list[Sequence] = []
    for action in todo:
        if isinstance(action, tuple):
            inside.append(of_client(*action))
            queue.add(inside[-1])
        elif action == "put back" and popped:
            inside.append(popped.pop())
            queue.put_back(inside[-1])
        elif action == "pop" and inside:
            popped.append(queue.pop())
            inside.remove(popped[-1])
        elif action == "remove" and inside:
            queue.remove(inside.pop(0))
        assert len(queue) == len(list(queue)) == len(inside) == queue.num_tokens
        assert {id(sequence) for sequence in queue} == {id(sequence) for sequence in inside}
        assert (queue.head() in inside) if inside else (queue.head() is None)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(2, 5 * TOKENS_OF_A_TURN)),
        min_size=1,
        max_size=80,
    )
)
def test_who_waits_is_given_as_many_turns_as_anybody(arriving: list[tuple[str, int]]) -> None:
    """The difference is never more than the largest request, whatever they ask for."""
    queue = FairQueue()
    sequences = [of_client(*arrival) for arrival in arriving]
    for sequence in sequences:
        queue.add(sequence)
    clients = {sequence.client_id for sequence in sequences}
    largest = max(num_turns(sequence) for sequence in sequences)
    given_turns = Counter(dict.fromkeys(clients, 0))
    while {sequence.client_id for sequence in queue} == clients:
        sequence = queue.pop()
        given_turns[sequence.client_id] += num_turns(sequence)
        assert max(given_turns.values()) - min(given_turns.values()) <= largest


@given(st.integers(1, 9), st.integers(2, 30))
def test_newcomers_keep_nobody_waiting_for_ever(num_own_turns: int, num_places: int) -> None:
    """Whoever was given much is next after so many rounds, though all others are always new."""
    queue = FairQueue()
    for _ in range(2):
        queue.add(of_client("large", num_own_turns * TOKENS_OF_A_TURN))
    num_left, num_pops = 2, 0
    while num_left:
        while len(queue) < num_places:
            queue.add(of_client(f"new {num_pops} {len(queue)}"))
        num_left -= queue.pop().client_id == "large"
        num_pops += 1
        assert num_pops <= (num_own_turns + 2) * num_places
