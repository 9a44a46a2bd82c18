"""The GroupViT page: groups that name themselves, the threshold, groups across pictures, right names, lessons."""

from demos.groupvit.page import PAGE

__all__ = ["PAGE"]
