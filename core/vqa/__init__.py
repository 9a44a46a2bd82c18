"""Questions about images: ViLT (Kim et al. 2021) and what CLIP gives such models (CLIP-ViL, Shen et al. 2022)."""
