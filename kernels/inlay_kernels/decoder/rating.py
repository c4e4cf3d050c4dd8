"""The likeliest token of each row of logits, found by those who computed them."""

from inlay_kernels.compiled import compiled
from inlay_kernels.decoder.crew import claim, finish
from inlay_kernels.scan import find_in_parts, joined, summarise


@compiled()
def rate_parts(  # type: ignore[no-untyped-def]
    state, num_threads, thread, phase, logits, rating
):
    """A phase: what the parts of each row come to."""
    size = rating.part_tops.shape[1]
    num_tasks, num_done = rating.part_tops.size, 0
    task = claim(state, num_threads, thread, phase, num_tasks)
    while task >= 0:
        row, part = task // size, task % size
        top, total = summarise(logits[row], part)
        rating.part_tops[row, part], rating.part_totals[row, part] = top, total
        num_done += 1
        task = claim(state, num_threads, thread, phase, num_tasks)
    finish(state, num_threads, phase, num_done, num_tasks)


@compiled()
def rate_rows(state, num_threads, thread, phase, logits, rating):  # type: ignore[no-untyped-def]
    """A phase: what the rows come to. Runs write to two places in turn, as the next one may be
    done before the answers of this one are read."""
    turn = state.number % 2
    tops, normalisers = rating.tops[turn], rating.normalisers[turn]
    num_tasks, num_done = len(logits), 0
    row = claim(state, num_threads, thread, phase, num_tasks)
    while row >= 0:
        tops[row], normalisers[row] = joined(rating.part_tops[row], rating.part_totals[row])
        rating.token_ids[turn, row] = find_in_parts(logits[row], rating.part_tops[row], tops[row])
        num_done += 1
        row = claim(state, num_threads, thread, phase, num_tasks)
    finish(state, num_threads, phase, num_done, num_tasks)
    if thread == 0:  # behind the phase, as compiled sums may be reordered: a - (a + b) would be -b
        for row in range(num_tasks):
            rating.logprobs[turn, row] = tops[row] - normalisers[row]
