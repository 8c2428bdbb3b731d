"""The proof that a server is isolated: from inside, from a vantage of production, and from outside.

The program itself is `automation/shipped/reach.py`; it is handed to the host's Python and leaves
nothing there.
"""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from automation.model.actions import ProveIsolated, Target
from automation.model.drill_evidence import IsolationProof
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome

PROGRAM = Path(__file__).resolve().parents[1] / "shipped/reach.py"
ATTEMPT_S = 3.0
REACHED = "reached"
SSH_PORT = 22


def prove_isolated(action: ProveIsolated, ctx: Context) -> Outcome:
    """Try every place from inside, from the vantage, and the server from outside, in the same moment.

    Raises:
        AdapterError: something got through, or the attempts prove nothing.
    """
    own = Target(what=action.host, address=action.address, port=SSH_PORT)
    with ThreadPoolExecutor(2 + len(action.outsiders)) as pool:
        inside = pool.submit(_try, ctx, action.host, (*action.refused, *action.reached))
        beside = pool.submit(_try, ctx, action.vantage, action.refused)
        outside = {host: pool.submit(_try, ctx, host, (own,)) for host in action.outsiders}
        seen, answers = inside.result(), beside.result()
        kept_out = {host: found.result()[own.place] for host, found in outside.items()}
    _refuse_leak(action, seen, kept_out)
    _refuse_empty(action, seen, answers)
    proof = IsolationProof(
        server=action.host,
        vantage=action.vantage,
        refused={_say(one): seen[one.place] for one in action.refused},
        answered=tuple(_say(one) for one in action.refused),
        reached=tuple(_say(one) for one in action.reached),
        kept_out=kept_out,
    )
    return Outcome(
        changed=False,
        summary=f"{action.host} reaches none of {len(action.refused)} places of production, which all answer "
        f"{action.vantage}; it reaches {', '.join(one.what for one in action.reached)}, and "
        f"{', '.join(action.outsiders)} cannot reach it",
        evidence=proof,
    )


def _refuse_leak(action: ProveIsolated, seen: Mapping[str, str], kept_out: Mapping[str, str]) -> None:
    leaks = [f"it reaches {_say(one)}" for one in action.refused if seen[one.place] == REACHED]
    leaks += [f"{host} reaches it" for host, how in kept_out.items() if how == REACHED]
    if leaks:
        raise AdapterError(
            f"{action.host} is not isolated: {'; '.join(leaks)}; nothing was restored",
            hint="look at its site's router: the drill goes no further, and its cleanup removes the server",
        )


def _refuse_empty(action: ProveIsolated, seen: Mapping[str, str], answers: Mapping[str, str]) -> None:
    """A silence proves something only if others are answered, and the silent one is by others."""
    mute = [f"{_say(one)} ({seen[one.place]})" for one in action.reached if seen[one.place] != REACHED]
    if mute:
        raise AdapterError(
            f"{action.host} does not reach {', '.join(mute)} either: its silence proves nothing; "
            "nothing was restored"
        )
    silent = [f"{_say(one)} ({how})" for one in action.refused if (how := answers[one.place]) != REACHED]
    if silent:
        raise AdapterError(
            f"{', '.join(silent)} answers {action.vantage} no more than {action.host}: that it is out "
            "of reach proves nothing; nothing was restored",
            hint="production must be well while a drill is proved to be cut off from it",
        )


def _try(ctx: Context, host: str, targets: Sequence[Target]) -> dict[str, str]:
    argv = ["python3", "-IS", "-", str(ATTEMPT_S), *(one.place for one in targets)]
    done = ctx.remote(host).run(argv, stdin=PROGRAM.read_text(), timeout_s=ctx.timeout_s)
    try:
        told: dict[str, str] = json.loads(done.stdout)
        return {one.place: str(told[one.place]) for one in targets}
    except (ValueError, KeyError) as exc:
        problem = done.stderr.strip()[-300:] or "no answer"
        raise AdapterError(f"{host} could not try the network: {problem}; nothing was changed") from exc


def _say(one: Target) -> str:
    kind = "" if one.kind == "tcp" else f" by {one.kind}"
    return f"{one.what} ({one.address}:{one.port}{kind})"
