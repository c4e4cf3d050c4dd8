"""What a shard asks of the machine below it: memory, devices, ranks, clocks."""
