"""Constraints on an answer: compile a JSON schema or a regex, match tokens, fill masks."""
