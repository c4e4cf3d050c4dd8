"""Draws a small world of colored shapes and trains the model that inlay ships on it."""
