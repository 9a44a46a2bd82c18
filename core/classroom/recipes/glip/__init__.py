"""GLIP's miniature."""
