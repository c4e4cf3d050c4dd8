"""States that layers other than attention keep of each sequence, and the parts they run in."""
