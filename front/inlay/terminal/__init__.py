"""What a person types: `inlay chat` and `inlay ask`."""
