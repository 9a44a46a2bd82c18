"""Chinese-CLIP's two stages, live."""
