"""Token ids to text and back, and an answer as it grows."""
