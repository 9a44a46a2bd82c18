"""Teach: lesson plans with worksheets, and a class in which everybody predicts before the model answers."""
