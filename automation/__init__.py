"""Mainstay keeps a city's systems recoverable, and proves it."""

__version__ = "0.1.0"
