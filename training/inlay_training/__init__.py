"""Draws a small world of colored shapes and trains the model that Inlay ships on it."""
