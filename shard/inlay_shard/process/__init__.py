"""The life of a shard as a process: its door, its log, and the end of it."""
