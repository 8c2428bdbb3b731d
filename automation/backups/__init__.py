"""Backups: which recovery points stay, which may go, and what forbids it. Pure."""
