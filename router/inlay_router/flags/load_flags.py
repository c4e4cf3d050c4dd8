"""The flags that say how much is taken on, and how long it may take."""

from inlay_router.flags.flag import COUNT, PATIENCE, SECONDS, Flag, Group, Switch

REQUESTS = Group(
    "limits of a request",
    (
        Flag(
            "max-concurrent-requests",
            "generations in flight, waiting ones included; above it 429",
        ),
        Flag(
            "max-queue-tokens",
            "prompt tokens that may wait; above it 429",
            absent="no limit but that of requests",
        ),
        Flag(
            "max-body-bytes",
            "bytes of the bodies of all requests that are being read or answered; above it 429",
        ),
        Flag(
            "max-time",
            "seconds that a request may take from receipt to its last byte",
            SECONDS,
            absent="as long as it takes",
        ),
        Flag("max-input-tokens", "longest prompt, in tokens", aliases=("max-input-length",)),
        Flag("max-total-tokens", "longest prompt and answer together, in tokens"),
        Flag("max-best-of", "largest best_of, and n"),
        Flag("max-stop-sequences", "most strings in stop", COUNT),
        Flag("max-top-n-tokens", "largest top_n_tokens, and logprobs", COUNT),
        Flag("max-client-batch-size", "prompts in one call of /v1/completions"),
    ),
    (
        Switch(
            "plain-prompts",
            "take special tokens in inputs and prompt for text, as in a chat",
            "has_plain_prompts",
        ),
    ),
)

BATCHING = Group(
    "batching",
    (
        Flag("max-batch-prefill-tokens", "prompt tokens that one step computes at most"),
        Flag("max-batch-size", "sequences that run at a time"),
        Flag("step-timeout", "seconds of one step after which a shard counts as hung", PATIENCE),
    ),
    (
        Switch(
            "no-prefix-cache",
            "compute every prompt anew, also one that begins like an earlier one",
            "has_prefix_cache",
            value=False,
        ),
    ),
)
