"""Every generative family of the installed transformers as a tiny random model, tried on inlay."""
