"""One real shard process over gRPC: what a router meets."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from driver import Driver
from local_shard import picture, prepare_request
from remote import Rank, RemoteShard, Stream, start_ranks
from tiny_models import make_tiny
from transformers_reference import Reference

from inlay_proto import generate_pb2 as pb
from inlay_proto.step_pipe import OFFER, pipe_path
from inlay_shard.images.recipe import Piece


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("idefics3", tmp_path_factory.mktemp("models") / "idefics3")


@pytest.fixture(scope="module")
def rank(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rank]:
    with start_ranks(folder, tmp_path_factory.mktemp("sockets")) as ranks:
        yield ranks[0]
    assert all(line.startswith("shard 0: ") for line in ranks[0].lines), ranks[0].lines


def test_socket_is_for_its_user_alone(rank: Rank) -> None:
    mode = os.stat(rank.address.removeprefix("unix:")).st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_health_and_facts(rank: Rank) -> None:
    assert rank.stub.Health(pb.HealthRequest()) == pb.HealthReply(is_ready=True, status="ready")
    facts = rank.stub.Describe(pb.DescribeRequest())
    assert (facts.model_type, facts.dtype, facts.device) == ("idefics3", "float32", "cpu")
    assert (facts.num_blocks, facts.block_size, facts.vocab_size) == (256, 32, 320)
    assert facts.takes_images
    assert list(facts.eos_token_ids) == [1]
    assert facts.eos_token == "<end>"


def test_start_says_what_it_does_and_nothing_else(rank: Rank) -> None:
    assert all(line.startswith("shard 0: ") for line in rank.lines)
    assert len(rank.lines) < 12


def test_answers_about_an_image(rank: Rank, folder: Path) -> None:
    pieces: list[Piece] = ["x ", picture(5), " y"]
    shard = RemoteShard([rank])
    driver = Driver(shard, chunk=16)
    reply = shard.prepare(pieces)
    running = driver.add(reply.token_ids, features_key=reply.features_key)
    driver.run()
    shard.close()
    expected = Reference(folder, takes_images=True).generate_seen(pieces)
    assert running.output_ids == expected


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([b"no image", "?"], "the image cannot be decoded"),
        ([picture(1), "<image>"], "the text contains '<image>'"),
        ([picture(1)[:200], "?"], "the image cannot be decoded"),
    ],
)
def test_bad_prompt_is_refused_in_words(rank: Rank, pieces: list[Piece], words: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        rank.stub.Prepare(prepare_request(pieces))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert words in str(caught.value.details())


def test_second_stream_is_refused_and_the_first_goes_on(rank: Rank) -> None:
    first, second = Stream(rank.stub), Stream(rank.stub)
    first.send(pb.Step(step_id=1))
    assert first.receive().step_id == 1
    second.send(pb.Step(step_id=1))
    with pytest.raises(grpc.RpcError) as caught:
        second.receive()
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    second.close()
    first.send(pb.Step(step_id=2))
    assert first.receive().step_id == 2
    first.close()
    assert list(first.results) == []


def test_end_of_the_stream_drops_its_sequences(rank: Rank) -> None:
    rows = pb.Rows(sequence_ids=[1], num_tokens=[1])
    sequence = pb.Sequence(sequence_id=1, token_ids=[20, 21], num_prompt_tokens=2, max_new_tokens=9)
    first = Stream(rank.stub)
    growth = pb.BlockGrowth(sequence_id=1, block_ids=[0])
    first.send(pb.Step(step_id=1, joining=[sequence], growths=[growth], rows=rows))
    assert first.receive() is not None
    first.close()
    assert list(first.results) == []
    second = Stream(rank.stub)
    second.send(pb.Step(step_id=1, rows=rows))
    result = second.receive()
    assert not result.sequence_ids and not result.failures
    second.close()
    assert list(second.results) == []


def test_steps_sent_ahead_are_answered_in_order(rank: Rank) -> None:
    """The newest tokens need no round trip: the next steps are sent before results are read."""
    stream = Stream(rank.stub)
    sequence = pb.Sequence(sequence_id=1, token_ids=[30], num_prompt_tokens=1, max_new_tokens=3)
    growth = pb.BlockGrowth(sequence_id=1, block_ids=[0])
    rows = pb.Rows(sequence_ids=[1], num_tokens=[1])
    stream.send(pb.Step(step_id=1, joining=[sequence], growths=[growth], rows=rows))
    for step_id in range(2, 6):
        stream.send(pb.Step(step_id=step_id))
    results = [stream.receive() for _ in range(5)]
    assert [result.step_id for result in results] == [1, 2, 3, 4, 5]
    assert [len(result.token_ids) for result in results] == [1, 1, 1, 0, 0]
    assert results[2].endings[0].reason == pb.END_REASON_LENGTH
    stream.close()
    assert list(stream.results) == []


def test_steps_may_come_through_a_pipe_while_the_stream_is_open(rank: Rank) -> None:
    stream = Stream(rank.stub)
    assert (OFFER, "1") in [tuple(entry) for entry in stream.results.initial_metadata()]
    path = pipe_path(rank.address)
    assert path is not None and stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as pipe, pipe.makefile("rb") as results:
        pipe.connect(path)
        for step_id in (1, 2):
            step = pb.Step(step_id=step_id).SerializeToString()
            pipe.sendall(len(step).to_bytes(4, "little") + step)
        for step_id in (1, 2):
            num_bytes = int.from_bytes(results.read(4), "little")
            assert pb.StepResult.FromString(results.read(num_bytes)).step_id == step_id
    stream.close()
    assert list(stream.results) == []
    assert not os.path.exists(path)


def test_leaves_with_its_parent(folder: Path, tmp_path: Path) -> None:
    """The end of standard input ends the shard while it loads, too."""
    rank = Rank(folder, f"unix:{tmp_path}/0.sock", 0, 1, 0)
    assert rank.stop() == 0


def test_a_folder_that_cannot_be_served_is_a_configuration_error(tmp_path: Path) -> None:
    rank = Rank(tmp_path, f"unix:{tmp_path}/0.sock", 0, 1, 0)
    assert rank.process.wait(120) == 78
    rank.stop()
    assert "is not a model folder" in "".join(rank.lines)
