"""How gRPC runs in a router and in a shard; it reads this from the environment when imported."""

GRPC_SETTINGS = {
    "GRPC_VERBOSITY": "ERROR",
    # No child uses gRPC on both sides of a fork; without this it says so at each compile.
    "GRPC_ENABLE_FORK_SUPPORT": "0",
    # Its own threads otherwise hand each message from one to the other, up to four of them, and
    # take time from the model where cores are few. Names that it does not know are ignored.
    "GRPC_EXPERIMENTS": "-event_engine_client,-event_engine_listener",
}
"""Variables of the environment; whoever starts a process may have set others."""
