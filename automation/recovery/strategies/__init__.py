"""Strategies: how one service is recovered, compiled to steps. Pure."""
