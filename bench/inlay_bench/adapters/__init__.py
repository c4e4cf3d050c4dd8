"""What drives one engine in a process of its own: the standard library and that engine alone."""
