"""How many JSON schemas can be held, how exactly and how fast, beside other backends."""
