"""The GroupViT page: groups that name themselves, the threshold, groups across images, right names, lessons."""
