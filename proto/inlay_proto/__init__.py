"""The wire contract between router and shard: messages and stubs generated from generate.proto."""
