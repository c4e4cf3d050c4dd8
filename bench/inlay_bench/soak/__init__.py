"""Hours of overload: what grows, and what is left behind."""
