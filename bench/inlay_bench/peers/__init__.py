"""Measures inlay and its peers side by side: same weights, type and cores, rounds in turn."""
