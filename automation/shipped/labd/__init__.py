"""Supervisor of a lab: PID 1 of its own namespaces, parent of every container and of the WAN.

Standard library only, nothing of ours outside this folder: started with `python3 -m labd`.
"""
