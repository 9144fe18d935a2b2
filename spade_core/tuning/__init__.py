"""Ratios chosen by what the maps gain: each method's own table, tuned on a folder of pictures.

``search`` says which tables are looked at, ``looks`` what each scores, ``tune`` puts the two together and writes the
table with its provenance. SPADE tunes per method, too (PAPER, section 4.1); the search, the constraint and the dense
map as a candidate are ours.
"""
