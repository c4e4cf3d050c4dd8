"""Who may come in, over what, how many at a time, and how much they may bring."""
