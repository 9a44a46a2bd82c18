"""AudioCLIP in small: sounds aligned with the frozen towers of a miniature CLIP."""
