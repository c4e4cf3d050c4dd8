"""Images on their way from files to embeddings, and the prompts they stand in."""
