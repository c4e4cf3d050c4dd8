"""The thread that embeds images, and what makes it fast on a CPU."""
