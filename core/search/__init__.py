"""Search in files by words, an image or a sound: what is indexed, where it is kept, how it is asked.

CLIFS (Modin 2021, https://github.com/johanmodin/clifs) searches frames of videos by text: one frame a second, cut into
overlapping patches, each encoded by CLIP. This room keeps that idea and adds images, sounds and texts, queries by image and
sound, an index that stays on the disk, and an end of the list.

    from core.search import index, query, spaces, store

    space = spaces.Space("classroom-rn")
    opened = store.open_store("~/index")
    for step in index.update(opened, space, "/home/me/photos"): ...
    found = query.search(opened, space, query.parse("a dog"))
"""
