"""ViLT (Kim et al. 2021): words and patches in one transformer, without convolution and without a detector."""
