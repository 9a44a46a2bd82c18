"""Untrusted input at the door: images, clouds, labels, texts and archives come out clean, or are refused in one sentence.

Behind this room nothing is checked again: `image` returns RGB images of a bounded size without metadata,
`labels` are spelled as they were sent and `clean` is what is read of them, and `files_of` hands out the files of
folders and zip archives one at a time, without unpacking them to the disk.
"""

from core.inputs.archives import Files, Member, files_of, is_archive
from core.inputs.images import FileImage, crop, digest, full_size, image, reduced_size, size_of, to_pixels
from core.inputs.numbers import number
from core.inputs.points import Cloud, points
from core.inputs.seeds import seed
from core.inputs.texts import SEPARATORS, clean, labels, text, visible

__all__ = [
    "SEPARATORS",
    "Cloud",
    "FileImage",
    "Files",
    "Member",
    "clean",
    "crop",
    "digest",
    "files_of",
    "full_size",
    "image",
    "is_archive",
    "labels",
    "number",
    "points",
    "reduced_size",
    "seed",
    "size_of",
    "text",
    "to_pixels",
    "visible",
]
