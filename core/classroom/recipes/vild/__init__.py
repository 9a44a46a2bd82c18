"""ViLD's miniature."""
