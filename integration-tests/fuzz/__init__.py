"""Throws damaged input at every door, and keeps what gets through as a seed."""
