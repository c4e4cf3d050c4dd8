"""The watermark: who looks for it finds it, and only where it is."""

import numpy as np
import pytest
import torch

import inlay_kernels
from inlay_proto import generate_pb2 as pb
from inlay_shard.sampling.controls import SamplingRow
from inlay_shard.sampling.randomness import philox
from inlay_shard.sampling.sampler import Sampler
from inlay_shard.sampling.watermark import DELTA, HASH_KEY, detect, favour_green

VOCAB_SIZE = 500


def sampled_answer(has_watermark: bool, num_tokens: int = 120) -> list[int]:
    """An answer drawn from a random model whose logits hang on the token before."""
    sampler = Sampler(VOCAB_SIZE, "cpu", inlay_kernels.REFERENCE)
    model = torch.randn(VOCAB_SIZE, VOCAB_SIZE, generator=torch.Generator().manual_seed(0))
    sampling = pb.Sampling(do_sample=True, seed=3, watermark=has_watermark)
    answer: list[int] = []
    for _ in range(num_tokens):
        row = SamplingRow(sampling=sampling, prompt_ids=[0], output_ids=answer)
        last = answer[-1] if answer else 0
        answer.append(int(sampler.choose(model[last : last + 1], [row]).token_ids[0]))
    return answer


def test_a_watermarked_answer_is_detected() -> None:
    assert detect(sampled_answer(has_watermark=True), VOCAB_SIZE) > 4


def test_a_plain_answer_is_not_detected() -> None:
    assert abs(detect(sampled_answer(has_watermark=False), VOCAB_SIZE)) < 3


def test_green_logits_gain_delta_and_the_detector_agrees_on_which() -> None:
    logits = torch.zeros(2, VOCAB_SIZE)
    favour_green(logits, [7, 499])
    assert set(logits.flatten().tolist()) == {0.0, DELTA}
    for row, previous in enumerate([7, 499]):
        scores = [detect([previous, chosen], VOCAB_SIZE) for chosen in range(VOCAB_SIZE)]
        np.testing.assert_array_equal(np.array(scores) > 0, logits[row].numpy() > 0)


def test_the_colour_of_a_token_follows_the_published_rule() -> None:
    previous, chosen = 41, 333
    word = philox((previous, chosen // 128, 0, 1), HASH_KEY)[chosen // 32 % 4]
    is_green = bool(int(word) >> chosen % 32 & 1)
    assert (detect([previous, chosen], VOCAB_SIZE) > 0) == is_green


def test_half_of_the_vocabulary_is_green() -> None:
    logits = torch.zeros(20, 5000)
    favour_green(logits, range(20))
    # 100,000 fair bits: the standard deviation of their mean is 0.0016.
    assert abs(float((logits > 0).float().mean()) - 0.5) < 0.006


def test_a_text_that_repeats_itself_proves_nothing() -> None:
    assert abs(detect([3, 4] * 200, VOCAB_SIZE)) < 2


def test_short_texts_score_zero() -> None:
    assert detect([], VOCAB_SIZE) == 0.0
    assert detect([3], VOCAB_SIZE) == 0.0


def test_ids_outside_the_vocabulary_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[0, 500\)"):
        detect([3, 500], VOCAB_SIZE)
