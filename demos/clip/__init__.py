"""The CLIP page: classify a picture with words first; closer looks, lessons and code behind further tabs."""
