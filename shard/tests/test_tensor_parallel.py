"""Two ranks, real processes joined by gloo: the same text as one."""

from pathlib import Path

import pytest
from driver import Driver, Running
from local_shard import picture
from remote import RemoteShard, start_ranks
from tiny_models import make_tiny
from tokenizers import Tokenizer
from transformers_reference import Reference

from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import ModelRefused
from inlay_shard.images.recipe import Piece
from inlay_shard.model.architecture import check, read_config


def test_two_ranks_equal_generate(tmp_path: Path) -> None:
    """Text and images, greedy, a grammar, an early end and forced tokens, in one batch."""
    folder = make_tiny("idefics3", tmp_path / "model")
    reference = Reference(folder, takes_images=True)
    texts = [[40, 50, 60], list(range(20, 55)), [99]]
    seen: list[Piece] = ["a ", picture(1), " b"]
    with start_ranks(folder, tmp_path, num_ranks=2) as ranks:
        shard = RemoteShard(ranks)
        driver = Driver(shard, chunk=16)
        running = [driver.add(token_ids) for token_ids in texts]
        reply = shard.prepare(seen)
        running.append(driver.add(reply.token_ids, features_key=reply.features_key))
        grammar = pb.Grammar(kind=pb.Grammar.KIND_REGEX, value="[ab]{3}")
        constrained = driver.add([44, 45], grammar=grammar)
        hurried = _hurried(driver)
        forced, chosen = _forced(driver, pb.Forcing(max_tokens=8)), _forced(driver, None)
        refused = driver.add([44, 45], features_key=b"unknown")
        driver.run()
        shard.close()
    assert [one.output_ids for one in running[:3]] == [reference.generate(t) for t in texts]
    assert running[3].output_ids == reference.generate_seen(seen)
    assert _is_complete(constrained)
    assert hurried.ending == pb.END_REASON_EOS_TOKEN
    assert hurried.has_shortened
    assert forced.output_ids == chosen.output_ids
    assert sum(sum(result.num_forced) for result in driver.results) > 20
    assert refused.failure is not None
    assert refused.failure.kind == pb.RowFailure.KIND_FEATURES_MISSING


def _hurried(driver: Driver) -> Running:
    """Its budget holds the shortest answer, and by itself it would hardly choose that."""
    plan = Tokenizer.from_str(driver.shard.facts.tokenizer_json).encode("aaac").ids
    return driver.add(
        [44, 45],
        len(plan),
        grammar=pb.Grammar(kind=pb.Grammar.KIND_REGEX, value="[ab]{3,}c"),
        finishing=pb.Finishing(first_plan=plan),
        sampling=pb.Sampling(biased_token_ids=plan[-1:], token_biases=[-100.0]),
    )


def _forced(driver: Driver, forcing: pb.Forcing | None) -> Running:
    """An answer that the grammar leaves hardly a choice."""
    grammar = pb.Grammar(kind=pb.Grammar.KIND_REGEX, value="(forced tokens [ab]){2}")
    return driver.add([44, 45], 60, grammar=grammar, forcing=forcing)


def _is_complete(running: Running) -> bool:
    """Three letters and the end token."""
    return len(running.output_ids) == 4 and running.ending == pb.END_REASON_EOS_TOKEN


def test_heads_that_do_not_divide_are_refused(tmp_path: Path) -> None:
    folder = make_tiny("llama", tmp_path, num_key_value_heads=1)
    with pytest.raises(ModelRefused, match="1 KV heads cannot be split over 2 shards"):
        check(read_config(folder), 2)
