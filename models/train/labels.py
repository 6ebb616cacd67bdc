# SPDX-License-Identifier: MPL-2.0
"""The yt8m13 label set: the 13 YouTube-8M instruments of the paper, and "none"."""

# The order of every model's output `tags`.
LABELS = (
    "Guitar",
    "Piano",
    "Drums",
    "Violin",
    "Accordion",
    "Saxophone",
    "Flute",
    "Organ",
    "Cello",
    "Trumpet",
    "Clarinet",
    "Harmonica",
    "Banjo",
)

# AudioSet's display names of each label.
AUDIOSET = {
    "Guitar": ("Guitar", "Electric guitar", "Acoustic guitar", "Steel guitar, slide guitar", "Strum", "Tapping (guitar technique)"),
    "Piano": ("Piano", "Electric piano"),
    "Drums": ("Drum kit", "Drum", "Snare drum", "Drum roll", "Bass drum", "Cymbal", "Hi-hat", "Rimshot"),
    "Violin": ("Violin, fiddle",),
    "Accordion": ("Accordion",),
    "Saxophone": ("Saxophone",),
    "Flute": ("Flute",),
    "Organ": ("Organ", "Electronic organ", "Hammond organ"),
    "Cello": ("Cello",),
    "Trumpet": ("Trumpet",),
    "Clarinet": ("Clarinet",),
    "Harmonica": ("Harmonica",),
    "Banjo": ("Banjo",),
}

# Audio and video models have one more class inside the softmax, which their `tags` leave out.
NONE = "none"
CLASSES = LABELS + (NONE,)

_BY_FOLDER = {name.lower(): i for i, name in enumerate(CLASSES)}


def class_of(folder):
    """Class index (0 to 13) of a data folder's name such as "guitar", or None when it is outside the set."""
    return _BY_FOLDER.get(folder.lower())
