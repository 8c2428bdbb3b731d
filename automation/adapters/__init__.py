"""Effects: one vendor each; `module.function` is the address of an action."""
