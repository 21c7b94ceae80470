"""When a snapshot is worth its write."""

SNAPSHOT_BYTES = 256 * 1024
"""Bytes of records after which a snapshot is worth its write: some 400 records, read back in well under a second."""

SNAPSHOT_REPLAYED = 64
"""Records read by one opening after which a snapshot is worth its write, however small they are: who is opened often
and told little leaves mostly fences, and each costs every later opening a call."""
