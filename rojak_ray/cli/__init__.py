"""The `rojak` command."""
