"""Decode steps recorded once as CUDA graphs and computed again without their Python."""
