"""An append-only, fenced record of one owner's events over a Store."""
