"""One conversation's life: the host that drives it, the steps it runs, and the client that asks for it."""
