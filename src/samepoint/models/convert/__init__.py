"""Checkpoints that others published, as networks of ours; ``samepoint weights convert``.

One file a source says what its names mean and how its network is built; :mod:`.kind` maps them strictly, :mod:`.table`
lists them, :mod:`.file` writes the result.
"""
