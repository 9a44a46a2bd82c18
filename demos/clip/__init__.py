"""The CLIP page: classify an image with words first; closer looks, lessons and code behind further tabs."""
