"""A batch of one token a row, moved on to the tokens that it chose."""

from inlay_kernels.compiled import compiled
from inlay_kernels.decoder.crew import claim, finish
from inlay_kernels.decoder.rounds import may_go_on, open_next


@compiled()
def move_on(  # type: ignore[no-untyped-def]
    state, num_threads, thread, phase, cache, inputs, batch, rating
):
    """A phase of one task: where the run may go on, each row is put one position further, and the
    next run is open. Block tables hold the block of that position."""
    num_done = 0
    if claim(state, num_threads, thread, phase, 1) == 0:
        if may_go_on(state.words, state.number):
            chosen = rating.token_ids[state.number % 2]
            for row in range(len(batch.context_lengths)):
                position = batch.context_lengths[row]
                block = batch.block_tables[row, position // cache.block_size]
                batch.slots[row] = block * cache.block_size + position % cache.block_size
                batch.context_lengths[row] = position + 1
                inputs.positions[row] += 1
                inputs.token_ids[row] = chosen[row]
            open_next(state.words)
        num_done = 1
    finish(state, num_threads, phase, num_done, 1)
