"""What the firewall does with the rest: one chain of several, or of one family alone, is not all."""

import json
import os
import subprocess
from typing import Any

import pytest

from automation.shipped.collector import network


def chain(family: str, policy: str = "accept", name: str = "input") -> Any:
    return {"chain": {"family": family, "table": "t", "name": name, "hook": "input", "policy": policy}}


def rule(family: str, *steps: Any) -> Any:
    return {"rule": {"family": family, "table": "t", "chain": "input", "expr": list(steps)}}


DROP, COUNTER = {"drop": None}, {"counter": {"packets": 0, "bytes": 0}}


@pytest.mark.parametrize(
    ("ruleset", "policy", "refuses"),
    [
        ([chain("inet", "drop")], "drop", True),
        ([chain("ip", "drop"), chain("ip6", "drop")], "drop", True),
        ([chain("ip", "drop")], "accept", False),
        ([chain("ip", "drop"), chain("ip6")], "accept", False),
        ([chain("ip6", "drop"), chain("ip"), rule("ip", COUNTER, DROP)], "accept", True),
        ([chain("inet"), rule("inet", {"log": {}}, {"reject": {}})], "accept", True),
        ([chain("inet"), rule("inet", {"limit": {}}, DROP)], "accept", False),
        ([chain("inet"), rule("inet", {"match": {}}, DROP)], "accept", False),
        ([chain("inet"), rule("inet", {"xt": None}, COUNTER, DROP)], "accept", False),
        ([chain("inet"), rule("inet", COUNTER)], "accept", False),
        ([], "accept", False),
    ],
)
def test_the_rest_is_refused_where_every_family_refuses_it(
    ruleset: Any, policy: str, refuses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = json.dumps({"nftables": ruleset})
    monkeypatch.setattr(network, "is_here", lambda _: True)
    monkeypatch.setattr(network, "has_unit", lambda _: False)
    monkeypatch.setattr(network, "attempt", lambda argv: subprocess.CompletedProcess(argv, 0, said, ""))
    monkeypatch.setattr(os.path, "exists", lambda path: path == "/proc/net/if_inet6")
    told = network.collect_firewall()
    assert (told["input_policy"], told["input_refuses_rest"]) == (policy, refuses)
