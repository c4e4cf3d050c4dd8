"""Hard grammars are within what a client may send, and never the same twice."""

import json
from itertools import islice

from inlay_bench.serving.bombs import BOMBS, bombs, harmless, num_bytes
from inlay_grammars.spec import SpecLimits


def test_no_two_are_equal() -> None:
    for arriving in (bombs(), harmless()):
        sent = [json.dumps(parameters) for _, parameters in islice(arriving, 3 * len(BOMBS))]
        assert len(set(sent)) == len(sent)


def test_none_is_refused_for_its_size() -> None:
    limits = SpecLimits()
    for name, parameters in islice(bombs(), len(BOMBS)):
        grammar = parameters["grammar"]
        assert isinstance(grammar, dict)
        is_regex = grammar["type"] == "regex"
        largest = limits.max_regex_bytes if is_regex else limits.max_bytes
        assert num_bytes(parameters) < largest, name
