"""CLIP4Clip (Luo et al. 2021): sentences find clips."""
