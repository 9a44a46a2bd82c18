"""GLIP (Li et al. 2022): `network` and its parts, `language` and `phrases` for prompts, `grounding` for the handle."""
