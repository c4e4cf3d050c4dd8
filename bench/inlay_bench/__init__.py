"""Measures inlay through HTTP against `transformers` `generate`, side by side in one run."""
