"""Panics of Rust reach Python as a BaseException that is no Exception."""


def is_panic(error: BaseException) -> bool:
    """Whether `error` came out of a backend, and not from whoever wants this thread to end."""
    return not isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit))
