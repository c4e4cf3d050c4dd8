"""JSON schemas before a backend sees them: walked, rewritten, and checked for what is enforced."""
