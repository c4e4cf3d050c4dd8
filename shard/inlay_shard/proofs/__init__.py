"""Trials at start-up: a model that our code would compute differently is refused."""
