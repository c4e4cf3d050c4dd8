"""What a choice leaves out, held against the logits processors of transformers."""

import math

import pytest
import torch
from transformers import (
    LogitsProcessor,
    MinNewTokensLengthLogitsProcessor,
    MinPLogitsWarper,
    NoBadWordsLogitsProcessor,
    TemperatureLogitsWarper,
)

import inlay_kernels
from inlay_proto import generate_pb2 as pb
from inlay_shard.sampling.controls import SamplingRow
from inlay_shard.sampling.exclusions import forbid, forbidden_ids, leave_out_unlikely
from inlay_shard.sampling.sampler import Sampler

VOCAB_SIZE = 61


def random_logits(num_rows: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(num_rows, VOCAB_SIZE, generator=torch.Generator().manual_seed(seed))


def row(answer: list[int], **controls: object) -> SamplingRow:
    sampling = pb.Sampling(**controls)  # type: ignore[arg-type]
    return SamplingRow(sampling=sampling, prompt_ids=[1, 2], output_ids=answer)


def runs(*token_ids: list[int]) -> list[pb.TokenRun]:
    return [pb.TokenRun(token_ids=ids) for ids in token_ids]


def left_by(processor: LogitsProcessor, answer: list[int], logits: torch.Tensor) -> list[int]:
    """Tokens of one row that a processor of transformers leaves, behind the prompt 1, 2."""
    return left(processor(torch.tensor([[1, 2, *answer]]), logits.clone()))


def left(logits: torch.Tensor) -> list[int]:
    token_ids: list[int] = (logits[0] > float("-inf")).nonzero().flatten().tolist()
    return token_ids


@pytest.mark.parametrize("num_tokens", [0, 2, 3, 4])
def test_end_tokens_wait_for_an_answer_of_some_length(num_tokens: int) -> None:
    answer, logits = [7] * num_tokens, random_logits(1)
    processor = MinNewTokensLengthLogitsProcessor(2, 3, [5, 9], device="cpu")
    wanted = left_by(processor, answer, logits)
    forbid(logits, [row(answer, min_tokens=3, late_token_ids=[5, 9])])
    assert left(logits) == wanted
    assert (5 in wanted) is (num_tokens >= 3)


@pytest.mark.parametrize("answer", [[], [11], [11, 12], [12, 11], [10, 11, 12], [11, 12, 13]])
def test_a_bad_run_is_never_completed(answer: list[int]) -> None:
    bad = [[30], [11, 12, 13], [12, 14], [13, 11]]
    logits = random_logits(1)
    wanted = left_by(NoBadWordsLogitsProcessor(bad, eos_token_id=0), answer, logits)
    forbid(logits, [row(answer, bad_runs=runs(*bad))])
    assert left(logits) == wanted
    assert 30 not in wanted


def test_only_what_is_allowed_is_left() -> None:
    logits = random_logits(2)
    before = logits.clone()
    forbid(logits, [row([], allowed_token_ids=[9, 4, 30], bad_runs=runs([4])), row([])])
    assert left(logits) == [9, 30]
    assert torch.equal(logits[0, [9, 30]], before[0, [9, 30]])
    assert torch.equal(logits[1], before[1])


def test_a_row_is_not_touched_by_its_neighbours() -> None:
    logits = random_logits(3)
    untouched = logits[1].clone()
    rows = [row([], bad_runs=runs([4])), row([]), row([4], bad_runs=runs([4, 8]))]
    assert [list(forbidden_ids(each)) for each in rows] == [[4], [], [8]]
    forbid(logits, rows)
    assert torch.equal(logits[1], untouched)
    assert logits[0, 4] == logits[2, 8] == float("-inf")


@pytest.mark.parametrize("share", [0.01, 0.2, 0.9, 1.0])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_unlikely_tokens_are_those_of_transformers(share: float, temperature: float) -> None:
    for seed in range(20):
        logits = random_logits(1, seed)
        warm = TemperatureLogitsWarper(temperature)(torch.tensor([[1]]), logits)
        wanted = left_by(MinPLogitsWarper(share), [], warm)
        leave_out_unlikely(logits, [row([], min_p=share, temperature=temperature)])
        assert left(logits) == wanted


def test_draws_take_none_that_is_unlikely() -> None:
    sampler = Sampler(VOCAB_SIZE, "cpu", inlay_kernels.select("cpu"))
    logits = random_logits(1).repeat(64, 1)
    rows = [row([], do_sample=True, temperature=3.0, min_p=0.6, seed=seed) for seed in range(64)]
    likely = logits[0] >= logits[0].max() + 3 * math.log(0.6)
    chosen = set(sampler.choose(logits, rows).token_ids.tolist())
    assert chosen == set(likely.nonzero().flatten().tolist())
    free = [row([], do_sample=True, temperature=3.0, seed=seed) for seed in range(64)]
    assert not set(sampler.choose(logits, free).token_ids.tolist()) <= chosen


def test_the_likeliest_token_that_is_left_is_taken() -> None:
    sampler = Sampler(VOCAB_SIZE, "cpu", inlay_kernels.select("cpu"))
    logits = random_logits(2)
    first, second = logits[0].topk(2).indices.tolist()
    rows = [row([], bad_runs=runs([first])), row([])]
    assert sampler.choose(logits, rows).token_ids.tolist() == [second, logits[1].argmax().item()]


def test_a_row_whose_tokens_are_all_left_out_fails() -> None:
    sampler = Sampler(VOCAB_SIZE, "cpu", inlay_kernels.select("cpu"))
    bad = runs(*([token_id] for token_id in range(VOCAB_SIZE)))
    choice = sampler.choose(random_logits(2), [row([], bad_runs=bad), row([])])
    assert choice.logprobs.isnan().tolist() == [True, False]
