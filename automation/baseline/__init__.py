"""Security baselines: what is wanted of hosts and accounts, and what their facts say. Pure."""
