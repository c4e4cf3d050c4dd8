"""How threads of torch's operations wait for one another; read when torch is imported."""

OPENMP_SETTINGS = {
    # Turns in a loop before a thread sleeps, some 150 microseconds. By default (GNU) they are
    # 300,000: 4 milliseconds in which it takes a core from a compiled loop that comes next.
    "GOMP_SPINCOUNT": "10000",
}
"""Variables of the environment; whoever starts a process may have set others."""
