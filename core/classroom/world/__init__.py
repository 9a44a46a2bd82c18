"""The synthetic world: concepts, sprites, scenes, captions, data sets."""
