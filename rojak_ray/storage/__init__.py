"""Bytes under keys that survive a crash: the Store protocol, its implementations, and the probe that tests a place."""
