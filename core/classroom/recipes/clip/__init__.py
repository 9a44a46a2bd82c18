"""CLIP miniatures: training, evaluation, and the live lesson."""
