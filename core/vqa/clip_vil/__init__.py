"""CLIP-ViL: CLIP's image encoder in models that answer questions (Shen et al. 2022, https://arxiv.org/abs/2107.06383)."""
