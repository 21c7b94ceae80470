"""Two Rays on one storage: one works and the other stands by, and each takes over from the other under load."""
