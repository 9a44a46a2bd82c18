"""CLIP-ViL in the classroom."""
