"""Attention over a paged key-value cache, in one form per kind of device."""
