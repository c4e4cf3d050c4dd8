"""A row that asks for them is told the model's logits."""

from pathlib import Path

import numpy as np
from driver import Driver
from local_shard import start_shard
from tiny_models import make_tiny

from inlay_proto import generate_pb2 as pb


def test_logits_come_with_each_chosen_token_of_who_asked(tmp_path: Path) -> None:
    driver = Driver(start_shard(make_tiny("llama", tmp_path / "llama")))
    penalties = pb.Sampling(repetition_penalty=5.0)
    asking = driver.add(range(30, 50), 4, logits=True)
    penalised = driver.add(range(30, 50), 4, logits=True, sampling=penalties)
    driver.add(range(30, 50), 4)
    driver.run()
    found: dict[int, list[np.ndarray[tuple[int], np.dtype[np.float32]]]] = {}
    for result in driver.results:
        for entry in result.logits:
            values = np.frombuffer(entry.values, np.float32)
            found.setdefault(entry.sequence_id, []).append(values)
    own, others = asking.message.sequence_id, penalised.message.sequence_id
    assert sorted(found) == sorted([own, others])
    assert [int(values.argmax()) for values in found[own]] == asking.output_ids
    np.testing.assert_allclose(found[own][0], found[others][0], rtol=1e-5, atol=1e-6)
    logprobs = [
        float(values[token_id] - np.logaddexp.reduce(values))
        for values, token_id in zip(found[own], asking.output_ids, strict=True)
    ]
    np.testing.assert_allclose(logprobs, asking.logprobs, atol=1e-4)
