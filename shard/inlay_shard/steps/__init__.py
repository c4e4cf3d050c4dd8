"""Steps: rows that the router names, computed, chosen, judged and reported."""
