"""Training recipes, one file per paper."""
