"""The GroupViT page: groups that name themselves, the threshold, groups across pictures, right names, lessons."""
