"""Sound: a learnable spectrogram, an audio encoder, and sound as the third modality of CLIP."""
