"""The run loop, pure.

`decide(state, command) -> events`, `evolve(state, event) -> state`, `pending(state) -> steps`.
"""
