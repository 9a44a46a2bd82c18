"""CLIP4Clip in the classroom."""
