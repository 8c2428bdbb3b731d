"""Provisioning: from declared and observed servers to a plan. Pure."""
