"""Seeded losses of power, and kills, at any system call of local stores that share a directory."""
