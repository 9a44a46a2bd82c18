"""The PointCLIP page: point clouds by CLIP, through depth images."""
