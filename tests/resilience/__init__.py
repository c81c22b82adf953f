"""Faults injected into a running Duely, and the promises that must hold after them."""
