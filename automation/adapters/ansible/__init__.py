"""Ansible: playbooks, the inventory it resolves, and the settings that one module of ours applies."""

from automation.adapters.ansible.enforcing import (
    enforce_settings,
    undo_settings,
    verify_enforce_settings,
    verify_undo_settings,
)
from automation.adapters.ansible.inventory import list_inventory
from automation.adapters.ansible.playbooks import end_abandoned, run_playbook

__all__ = [
    "end_abandoned",
    "enforce_settings",
    "list_inventory",
    "run_playbook",
    "undo_settings",
    "verify_enforce_settings",
    "verify_undo_settings",
]
