"""What dies, hangs or kills: noticed, waited for, found out, and kept apart."""
