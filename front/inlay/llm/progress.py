"""The progress bar of a batch: prompts done, and tokens a second."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from inlay.offline.result import Result

OnDone = Callable[[int, Result], None]


@contextmanager
def progress(num_prompts: int, *, is_shown: bool) -> Iterator[OnDone | None]:
    """What is to be told of each prompt that is done; None where nothing is shown."""
    if not is_shown:
        yield None
        return
    from tqdm.auto import tqdm

    begun = time.monotonic()
    num_tokens = 0
    with tqdm(total=num_prompts, desc="prompts", dynamic_ncols=True) as bar:

        def on_done(_: int, result: Result) -> None:
            nonlocal num_tokens
            num_tokens += sum(answer.finish.num_generated_tokens for answer in result.answers)
            rate = num_tokens / max(time.monotonic() - begun, 1e-9)
            bar.set_postfix_str(f"{rate:.0f} tokens/s", refresh=False)
            bar.update()

        yield on_done
