"""Images changed by a sentence: StyleCLIP's three ways through a StyleGAN2, and what diffusion made of the idea."""
