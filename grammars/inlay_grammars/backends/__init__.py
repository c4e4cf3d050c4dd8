"""Outlines' backends behind one interface, each fitted to a model's logits and end tokens."""
