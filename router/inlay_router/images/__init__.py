"""Images as clients send them: where they may come from, fetched, and checked by their headers."""
