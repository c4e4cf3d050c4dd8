"""All decoder layers of a text tower in one compiled function."""

import numpy as np

from inlay_kernels.arrays_in_place import stack_array
from inlay_kernels.compiled import compiled, to_float
from inlay_kernels.decoder.arrays import Buffers
from inlay_kernels.decoder.attention import attend
from inlay_kernels.decoder.crew import Run, claim, finish
from inlay_kernels.decoder.forms import PANEL
from inlay_kernels.decoder.heads import rotate_and_keep
from inlay_kernels.decoder.instructions import array_at, to_element
from inlay_kernels.decoder.linear import multiply_all
from inlay_kernels.decoder.moving import move_on
from inlay_kernels.decoder.products import MAX_ROWS
from inlay_kernels.decoder.projections import (
    add_to_hidden,
    gate_up,
    inverse_norms,
    query_key_value,
)
from inlay_kernels.decoder.rating import rate_parts, rate_rows
from inlay_kernels.decoder.rounds import first_run, next_run

_PHASES_PER_LAYER = 6
"""Phases of a layer."""
_PHASES_BESIDE = 3
"""One before the first layer, one within the last, and one behind it."""
_PHASES_OF_LOGITS = 4
"""Of the head, of finding the likeliest of its outputs, and of moving on."""
_TOKENS = 8
"""Tokens that one task begins or ends with."""


def num_phases(num_layers: int, *, has_head: bool) -> int:
    """Phases of `run_layers`, or of `run_to_logits`."""
    return _PHASES_PER_LAYER * num_layers + _PHASES_BESIDE + has_head * _PHASES_OF_LOGITS


@compiled(nogil=True)
def run_to_logits(  # type: ignore[no-untyped-def]
    words, num_threads, thread, number, shape, weights, cache, inputs, batch, buffers, element,
    kept, head, logits, rating,
):  # fmt: skip
    """Rounds of what `run_layers` does, and logits of the kept tokens, (K, V), with the likeliest.

    A round that may go on puts these in the place of the tokens, of which there is one a row.
    """
    size = shape.hidden_size + shape.hidden_size % 2
    number = first_run(words, thread, number)
    while number > 0:
        state = Run(words, number)
        run_layers(
            state, num_threads, thread, shape, weights, cache, inputs, batch, buffers, element, kept
        )
        phase = _PHASES_BESIDE + shape.num_layers * _PHASES_PER_LAYER
        multiply_all(state, num_threads, thread, phase, head, kept.hidden, size, logits)
        rate_parts(state, num_threads, thread, phase + 1, logits, rating)
        rate_rows(state, num_threads, thread, phase + 2, logits, rating)
        move_on(state, num_threads, thread, phase + 3, cache, inputs, batch, rating)
        number = next_run(words, thread, number)


@compiled(nogil=True)
def run_layers(  # type: ignore[no-untyped-def]
    state, num_threads, thread, shape, weights, cache, inputs, batch, buffers, element, kept
):
    """From embeddings to last hidden states of the kept tokens, in `kept.hidden`.

    Once the last layer has put keys and values into the cache, only tokens that are kept go on.
    element: an empty array of the cache's type.
    """
    inverse = stack_array(len(buffers.hidden), np.float32)
    sums = stack_array(MAX_ROWS * PANEL, np.float32)
    last = 1 + shape.num_layers * _PHASES_PER_LAYER
    _begin(state, num_threads, thread, 0, shape, weights, inputs, buffers)
    for layer in range(shape.num_layers):
        phase = 1 + layer * _PHASES_PER_LAYER
        keys = array_at(cache.addresses[layer, 0], cache.num_numbers, element.dtype)
        values = array_at(cache.addresses[layer, 1], cache.num_numbers, element.dtype)
        query_key_value(
            state, num_threads, thread, phase, shape, weights, layer, buffers, inverse, sums
        )
        rotate_and_keep(
            state, num_threads, thread, phase + 1, shape, weights, layer, cache, inputs, batch,
            buffers, keys, values,
        )  # fmt: skip
        if layer + 1 == shape.num_layers and len(kept.tokens) < len(buffers.hidden):
            _gather(state, num_threads, thread, last, buffers, kept.tokens)
            batch, buffers = kept.batch, _first_rows(buffers, len(kept.tokens))
        attend(
            state, num_threads, thread, phase + 2, shape, weights, layer, cache, batch, buffers,
            keys, values,
        )  # fmt: skip
        add_to_hidden(
            state, num_threads, thread, phase + 3, weights, layer, 1, buffers.attended,
            shape.num_heads * shape.head_size, buffers, sums,
        )  # fmt: skip
        gate_up(
            state, num_threads, thread, phase + 4, shape, weights, layer, buffers, inverse, sums
        )
        add_to_hidden(
            state, num_threads, thread, phase + 5, weights, layer, 3, buffers.activation,
            shape.intermediate_size, buffers, sums,
        )  # fmt: skip
    _end(state, num_threads, thread, last + 1, shape, weights, buffers, inverse, kept)


@compiled()
def _begin(  # type: ignore[no-untyped-def]
    state, num_threads, thread, phase, shape, weights, inputs, buffers
):
    """Look embeddings up, and make them ready for the first norm."""
    hidden, x, norm = buffers.hidden, buffers.x, weights.norms[0]
    num_tasks, num_done = (len(hidden) + _TOKENS - 1) // _TOKENS, 0
    task = claim(state, num_threads, thread, phase, num_tasks)
    while task >= 0:
        for token in range(task * _TOKENS, min((task + 1) * _TOKENS, len(hidden))):
            embedding = inputs.embeddings[inputs.token_ids[token]]
            for column in range(shape.hidden_size):
                hidden[token, column] = to_float(embedding[column])
            for panel in range(hidden.shape[1] // PANEL):
                square = np.float32(0)
                for column in range(panel * PANEL, (panel + 1) * PANEL):
                    number = hidden[token, column]
                    x[token, column] = to_element(x, number * norm[column])
                    square += number * number
                buffers.squares[token, panel] = square
        num_done += 1
        task = claim(state, num_threads, thread, phase, num_tasks)
    finish(state, num_threads, phase, num_done, num_tasks)


@compiled()
def _gather(state, num_threads, thread, phase, buffers, tokens):  # type: ignore[no-untyped-def]
    """A phase of one task: what the last layer needs of some tokens, to the first rows."""
    num_done = 0
    if claim(state, num_threads, thread, phase, 1) == 0:
        _move_rows(buffers.hidden.reshape(-1), buffers.hidden[0].size, tokens)
        _move_rows(buffers.query.reshape(-1), buffers.query[0].size, tokens)
        num_done = 1
    finish(state, num_threads, phase, num_done, 1)


@compiled()
def _move_rows(rows, width, sources):  # type: ignore[no-untyped-def]
    """sources: in order, so that no row is written before it is read."""
    for place in range(len(sources)):
        first = sources[place] * width
        for column in range(width):
            rows[place * width + column] = rows[first + column]


@compiled()
def _first_rows(buffers, count):  # type: ignore[no-untyped-def]
    return Buffers(
        buffers.hidden[:count],
        buffers.squares[:count],
        buffers.x[:count],
        buffers.qkv[:count],
        buffers.query[:count],
        buffers.attended[:count],
        buffers.activation[:count],
    )


@compiled()
def _end(  # type: ignore[no-untyped-def]
    state, num_threads, thread, phase, shape, weights, buffers, inverse, kept
):
    """The last norm, of the kept tokens."""
    hidden, x, norm = buffers.hidden, kept.hidden, weights.norms[2 * shape.num_layers]
    inverse_norms(buffers.squares, 0, len(hidden), shape.hidden_size, shape.epsilon, inverse)
    num_tasks, num_done = (len(x) + _TOKENS - 1) // _TOKENS, 0
    task = claim(state, num_threads, thread, phase, num_tasks)
    while task >= 0:
        for place in range(task * _TOKENS, min((task + 1) * _TOKENS, len(x))):
            token = kept.places[place]
            for column in range(shape.hidden_size):
                number = hidden[token, column] * inverse[token] * norm[column]
                rounded = to_float(to_element(kept.number, number))
                x[place, column] = to_element(x, rounded)
        num_done += 1
        task = claim(state, num_threads, thread, phase, num_tasks)
    finish(state, num_threads, phase, num_done, num_tasks)
