"""The engine without a server: the router's machinery and a shard behind a Python call."""
