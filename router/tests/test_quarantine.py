"""Who is suspected of killing the replica, and who is convicted."""

from inlay_router.batching.sequence import Sequence, State
from inlay_router.faults.quarantine import Quarantine
from inlay_router.request import GenerationRequest, Prompt


def a_sequence() -> Sequence:
    prompt = Prompt(token_ids=(1, 2, 3))
    sequence = Sequence.of(GenerationRequest(prompt=prompt, max_new_tokens=5))
    sequence.state = State.WAITING
    return sequence


def get_further(sequence: Sequence) -> None:
    sequence.confirm(sequence.num_reached + 1)


def test_one_death_makes_no_suspect() -> None:
    quarantine = Quarantine()
    assert quarantine.blame([a_sequence()]) == []
    assert quarantine.suspect() is None


def test_two_deaths_without_progress_make_suspects_of_all_who_were_there() -> None:
    quarantine, first, second = Quarantine(), a_sequence(), a_sequence()
    quarantine.blame([first, second])
    assert quarantine.blame([first, second]) == []
    assert quarantine.suspect() is first
    get_further(first)
    assert quarantine.suspect() is second
    get_further(second)
    assert quarantine.suspect() is None


def test_a_suspect_whose_lonely_step_kills_is_the_culprit() -> None:
    quarantine, first, second = Quarantine(), a_sequence(), a_sequence()
    for _ in range(2):
        quarantine.blame([first, second])
    assert quarantine.blame([first]) == [first]


def test_a_suspect_is_not_convicted_in_company() -> None:
    quarantine, first, second = Quarantine(), a_sequence(), a_sequence()
    for _ in range(5):
        assert quarantine.blame([first, second]) == []


def test_progress_between_deaths_clears_of_suspicion() -> None:
    quarantine, sequence = Quarantine(), a_sequence()
    for _ in range(10):
        assert quarantine.blame([sequence]) == []
        get_further(sequence)
    assert quarantine.suspect() is None


def test_computing_the_same_tokens_again_is_no_progress() -> None:
    quarantine, sequence = Quarantine(), a_sequence()
    get_further(sequence)
    for _ in range(2):
        quarantine.blame([sequence])
        sequence.num_computed = 0
        sequence.confirm(1)
    assert quarantine.suspect() is sequence


def test_who_left_is_no_suspect_until_it_is_back() -> None:
    quarantine, sequence = Quarantine(), a_sequence()
    for _ in range(2):
        quarantine.blame([sequence])
    sequence.state = State.OUTSIDE
    assert quarantine.suspect() is None
    sequence.state = State.WAITING
    quarantine.watch(sequence)
    assert quarantine.suspect() is sequence
