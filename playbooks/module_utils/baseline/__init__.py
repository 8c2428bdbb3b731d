"""How the settings of a baseline are applied to this host, and put back."""
