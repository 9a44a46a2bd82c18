"""GroupViT's miniature."""
