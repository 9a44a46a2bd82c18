"""Video: what clips are made of, CLIP4Clip and ActionCLIP."""
