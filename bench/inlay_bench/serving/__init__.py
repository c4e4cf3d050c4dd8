"""Measures what a running server does to its streams, and what its router costs."""
