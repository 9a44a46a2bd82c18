"""Untrusted input at the door: images, videos, sounds, clouds, labels, texts and archives come out clean, or are refused.

Behind this room nothing is checked again: `image` returns RGB images of a bounded size without metadata, `video` knows
when the frames of a file appear and decodes those that are wanted, `labels` are spelled as they were sent and `clean` is
what is read of them, and `files_of` hands out the files of folders and zip archives one at a time, without unpacking them
to the disk.
"""

from core.inputs.archives import Files, Member, files_of, is_archive
from core.inputs.audio import Sound, sound
from core.inputs.depths import depths
from core.inputs.images import (
    FileImage,
    crop,
    digest,
    full_size,
    image,
    read_capture_time,
    reduced_size,
    size_of,
    to_pixels,
)
from core.inputs.numbers import number
from core.inputs.points import Cloud, points
from core.inputs.seeds import seed
from core.inputs.texts import SEPARATORS, clean, labels, scores, text, visible
from core.inputs.video import Clip, Frame, Video, video

__all__ = [
    "SEPARATORS",
    "Clip",
    "Cloud",
    "FileImage",
    "Files",
    "Frame",
    "Member",
    "Sound",
    "Video",
    "clean",
    "crop",
    "depths",
    "digest",
    "files_of",
    "full_size",
    "image",
    "is_archive",
    "labels",
    "number",
    "points",
    "read_capture_time",
    "reduced_size",
    "scores",
    "seed",
    "size_of",
    "sound",
    "text",
    "to_pixels",
    "video",
    "visible",
]
