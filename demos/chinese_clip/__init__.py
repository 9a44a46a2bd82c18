"""The Chinese-CLIP page: the sheep lesson, one question in two languages, the way of a Chinese label, the training."""
