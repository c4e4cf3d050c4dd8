"""What stopped the shards is refused for a while."""

from inlay_proto import generate_pb2 as pb
from inlay_router.faults.convictions import (
    CONVICTION_SECONDS,
    Convictions,
    name_of_preparation,
    name_of_sequence,
)
from inlay_router.request import GenerationRequest, Prompt


def test_for_a_while() -> None:
    now = 0.0
    convictions = Convictions(clock=lambda: now)
    convictions.add(b"guilty")
    assert convictions.holds(lambda: b"guilty")
    assert not convictions.holds(lambda: b"innocent")
    now = CONVICTION_SECONDS
    assert not convictions.holds(lambda: b"guilty")
    assert repr(convictions) == "Convictions(0)"


def test_names_are_not_asked_for_in_vain() -> None:
    def name() -> bytes:
        raise AssertionError

    assert not Convictions().holds(name)


def test_not_more_than_there_is_room_for() -> None:
    convictions = Convictions()
    for number in range(1000):
        convictions.add(number.to_bytes(2))
    assert repr(convictions) == "Convictions(256)"
    assert convictions.holds(lambda: (999).to_bytes(2))


def test_a_draw_makes_no_other_request() -> None:
    prompt = Prompt(token_ids=(1, 2))
    first, second = (
        GenerationRequest(prompt=prompt, max_new_tokens=number, sampling=pb.Sampling(seed=number))
        for number in (1, 2)
    )
    assert name_of_sequence(first) == name_of_sequence(second)
    grammar = pb.Grammar(kind=pb.Grammar.KIND_REGEX, value="a")
    other = GenerationRequest(prompt=prompt, max_new_tokens=1, grammar=grammar)
    assert name_of_sequence(other) != name_of_sequence(first)


def test_preparations_are_named_by_texts_and_images() -> None:
    chunks = [
        pb.Chunk(text="a"),
        pb.Chunk(text="b"),
        pb.Chunk(image=pb.Image(digest=b"a" * 32)),
        pb.Chunk(embeds=pb.ImageEmbeds(digest=b"b" * 32)),
    ]
    names = {name_of_preparation(pb.PrepareRequest(chunks=[chunk])) for chunk in chunks}
    assert len(names) == 4
    assert name_of_preparation(pb.PrepareRequest(chunks=chunks[:2])) not in names
