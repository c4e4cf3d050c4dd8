"""Draws the results of the benches; the only part of the bench that needs matplotlib."""
