# SPDX-License-Identifier: MPL-2.0
"""Instruments that are taken for one another, and names of the same one, by AudioSet's names and the 13 labels'."""

# Instruments that are taken for one another, by AudioSet's names.
FAMILIES = (
    ("Guitar", "Electric guitar", "Acoustic guitar", "Steel guitar, slide guitar", "Bass guitar", "Banjo", "Sitar", "Mandolin", "Zither", "Ukulele", "Harp"),
    ("Piano", "Electric piano", "Organ", "Electronic organ", "Hammond organ", "Harpsichord", "Synthesizer")
    + ("Vibraphone", "Marimba, xylophone", "Glockenspiel", "Steelpan", "Harp"),
    ("Drums", "Drum kit", "Drum", "Snare drum", "Bass drum", "Cymbal", "Hi-hat", "Drum machine", "Timpani", "Tabla", "Wood block", "Tambourine")
    + ("Rattle (instrument)", "Maraca", "Gong", "Vibraphone", "Marimba, xylophone", "Glockenspiel", "Steelpan"),
    ("Violin", "Violin, fiddle", "Cello", "Double bass"),
    ("Trumpet", "Trombone", "French horn", "Saxophone", "Shofar", "Didgeridoo"),
    ("Flute", "Clarinet", "Saxophone", "French horn", "Bagpipes"),
    ("Accordion", "Harmonica", "Organ", "Electronic organ", "Hammond organ", "Bagpipes", "Synthesizer"),
)
# Names of the same thing, or of a part of it.
KINDS = (
    ("Guitar", "Electric guitar", "Acoustic guitar", "Steel guitar, slide guitar"),
    ("Piano", "Electric piano"),
    ("Organ", "Electronic organ", "Hammond organ"),
    ("Synthesizer", "Sampler"),
    ("Drums", "Drum kit", "Drum", "Snare drum", "Bass drum", "Cymbal", "Hi-hat", "Drum machine"),
    ("Bell", "Church bell", "Jingle bell", "Bicycle bell", "Chime", "Wind chime", "Change ringing (campanology)", "Tubular bells"),
    ("Vibraphone", "Marimba, xylophone", "Glockenspiel"),
    ("Violin", "Violin, fiddle"),
)


def kin(a, b):
    return a == b or any(a in kind and b in kind for kind in KINDS)


def related(a, b):
    """Whether `b` is a rival of `a`: of its family, but not of its kind."""
    return not kin(a, b) and any(a in family and b in family for family in FAMILIES)
