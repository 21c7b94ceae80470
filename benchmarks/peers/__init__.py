"""One folder for each system: what it is pinned to, how it does a turn (`bench.py`), its hello world (`hello.py`)."""
