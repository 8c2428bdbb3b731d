"""Facts of a host, for the judge of baselines: what is in effect and what is written down, and no secret.

Shipped to the host and run as root; needs Python 3.9 or newer and nothing of ours but these files.
"""
