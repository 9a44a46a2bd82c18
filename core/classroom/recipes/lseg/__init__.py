"""LSeg's miniature."""
