"""The router's command line: what each flag is called, may be, and becomes."""
