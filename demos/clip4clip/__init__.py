"""The CLIP4Clip page."""
