"""How threads of torch's operations wait for one another; read when torch is imported."""

OPENMP_SETTINGS = {
    # Turns in a loop before a thread sleeps: a tenth of a millisecond, by GNU's own estimate. The
    # default is 300,000, in which it takes a core from a compiled loop that comes next.
    "GOMP_SPINCOUNT": "10000",
}
"""Variables of the environment; whoever starts a process may have set others."""
