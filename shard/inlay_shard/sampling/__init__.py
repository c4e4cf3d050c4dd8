"""Choosing a token from logits: penalties, exclusions, masks, random numbers."""
