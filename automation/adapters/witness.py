"""The witness on its vantage host: start it, ask it, take its record home.

The programs themselves are `automation/shipped/witness.py`, which probes, and
`automation/shipped/vantage.py`, which answers questions; both are shipped over the host's connection.
"""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from automation.model.actions import (
    AwaitFailed,
    AwaitGood,
    AwaitWell,
    CollectWitness,
    Probe,
    ProveRefused,
    StartWitness,
)
from automation.model.errors import AdapterError
from automation.model.evidence import FenceProof, ProbesSeen, WitnessRecord
from automation.model.records import Completed, Context, Outcome, Remote

SHIPPED = Path(__file__).resolve().parents[1] / "shipped"
FOLDER = "/var/lib/mainstay-witness"
ARTIFACT = "witness.jsonl"
RECORD_APPEARS_WITHIN_S = 10.0
# A dropped SYN is sent again after 1 s, so several are sent at once instead of waiting for that.
REFUSED_TIMEOUT_MS = 400
REFUSED_ATTEMPTS = 3
# After silence: a router says no once a second, and then perhaps to the witness.
OVERHEAR_S = 3.0
# A write of the lab's smallest kind: what it pays does not matter, that it is counted does.
WRITE_BODY = {"account": "mainstay-witness", "amount_cents": 1}


def start(action: StartWitness, ctx: Context) -> Outcome:
    """Start the witness as a unit of its own, or join the one that runs for this run."""
    remote, folder, unit = ctx.remote(action.host), _folder(ctx), _unit(ctx)
    if _is_active(remote, unit):
        return Outcome(changed=False, summary=f"the witness on {action.host} runs already")
    user = ctx.environment.automation_user
    _ship(ctx, action.host, "witness.py")
    remote.put(f"{folder}/config.json", _config(action, ctx).encode())
    _must(remote, _systemd_run(unit, user, folder), "start it", action.host)
    _await_record(remote, folder, unit, action.host)
    names = ", ".join(probe.id for probe in action.probes)
    return Outcome(changed=True, summary=f"{action.host} probes {names} every {action.beat_s * 1000:g} ms")


def await_good(action: AwaitGood, ctx: Context) -> Outcome:
    """Wait until each of the probes was good so many times in a row."""
    return _await("good", action, ctx)


def await_well(action: AwaitWell, ctx: Context) -> Outcome:
    """Wait until each of the probes was good so many times in a row."""
    return _await("good", action, ctx)


def await_failed(action: AwaitFailed, ctx: Context) -> Outcome:
    """Wait until one of the probes failed so many times in a row."""
    return _await("failed", action, ctx)


def follow(remote: Remote, run_id: str, offset: int) -> str:
    """Give the whole lines that the witness of a run has written from a byte on; may be empty."""
    written = remote.run(["tail", "-c", f"+{offset + 1}", f"{FOLDER}/{run_id}/{ARTIFACT}"]).stdout
    return written[: written.rfind("\n") + 1]


def prove_refused(action: ProveRefused, ctx: Context) -> Outcome:
    """Try to connect to the fenced server from a vantage; anything but a proven refusal is an error.

    Silence proves nothing by itself: either a router said no, which is our own block, or the vantage
    reached something else at the same site in the same moment.
    """
    target = f"{action.server} ({action.address}:{action.port})"
    vantage, code, answer = _ask_a_vantage(action, ctx)
    if code == 1:
        raise AdapterError(f"{target} took a connection from {vantage}: it is not fenced; nothing changed")
    if code != 0:
        raise AdapterError(f"{vantage} could not try {target}: {answer}; nothing changed", transient=True)
    reached = _connected(answer["controls"])
    if silent := [f"{c['target']} ({c['how']})" for c in answer["controls"] if c["how"] != "connected"]:
        raise AdapterError(
            f"{target} refused {vantage}, but so did {', '.join(silent)}: no proof; nothing changed",
            transient=True,
        )
    said, beside = set(answer["how"].split(",")), _connected(answer["same_site"])
    if "connect_refused" in said:
        raise AdapterError(
            f"{target} answers {vantage} that nothing listens there: it is alive and reachable, so it is not "
            "fenced; nothing changed",
            hint="look at the network fence: what was read back is not what holds",
        )
    if not ("unreachable" in said or beside):
        raise AdapterError(
            f"{target} is silent to {vantage}, and so is all of its site: no proof; nothing changed",
            hint="a router must refuse it (the network fence), or something else at its site must answer",
        )
    proof = FenceProof(
        server=action.server,
        vantage=vantage,
        address=action.address,
        port=action.port,
        refused_by=answer["how"],
        reached_instead=(*reached, *beside),
        means=action.means,
        basis="own-block" if "unreachable" in said else "reached-same-site",
    )
    instead = f"; {vantage} reached {', '.join(proof.reached_instead)}" if proof.reached_instead else ""
    return Outcome(changed=False, summary=f"{target} refuses: {answer['how']}{instead}", evidence=proof)


def _ask_a_vantage(action: ProveRefused, ctx: Context) -> tuple[str, int, dict[str, Any]]:
    """Ask the witness's host, or the next vantage when it is lost; give which one, and its answer."""
    argv = ["refused", "--address", action.address, "--port", str(action.port)]
    argv += ["--timeout-ms", str(REFUSED_TIMEOUT_MS), "--attempts", str(REFUSED_ATTEMPTS)]
    argv += ["--out", _folder(ctx), "--overhear-s", str(OVERHEAR_S)]
    argv += ["--reachable", *action.reachable] if action.reachable else []
    argv += ["--same-site", *action.same_site] if action.same_site else []
    lost: list[str] = []
    for host in (action.host, *action.else_from):
        try:
            return host, *_ask_shipped(ctx, host, argv)
        except AdapterError as exc:
            if not exc.transient:
                raise
            lost.append(str(exc))
            ctx.say(f"the vantage {host} is lost; asking another")
    raise AdapterError(f"no vantage could be asked: {' | '.join(lost)}; nothing changed", transient=True)


def _ask_shipped(ctx: Context, host: str, argv: Sequence[str]) -> tuple[int, dict[str, Any]]:
    """Ask; where no witness was started in this run, ship the program first."""
    try:
        return _ask(ctx, host, argv)
    except _NotShipped:
        _ship(ctx, host)
        return _ask(ctx, host, argv)


def _connected(answers: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(answer["target"] for answer in answers if answer.get("how") == "connected")


def collect(action: CollectWitness, ctx: Context) -> Outcome:
    """Let the witness end in good order and fetch its record into the run's artifacts."""
    remote, unit = ctx.remote(action.host), _unit(ctx)
    was_active = _is_active(remote, unit)
    if was_active:
        _must(remote, ["sudo", "-n", "systemctl", "stop", unit], "stop it", action.host)
    content = remote.get(f"{_folder(ctx)}/{ARTIFACT}")
    target = ctx.artifacts / ARTIFACT
    partial = target.with_suffix(".part")
    partial.write_bytes(content)
    partial.replace(target)
    _forget_old(action, ctx)
    probes = [line for line in _parse(content) if line.get("record") == "probe"]
    acknowledged = sum(probe.get("write") == "acknowledged" for probe in probes)
    offset_s, uncertainty_s = _clock_offset(remote, action.host)
    evidence = WitnessRecord(
        host=action.host,
        file=ARTIFACT,
        probes=len(probes),
        acknowledged=acknowledged,
        clock_offset_s=offset_s,
        clock_uncertainty_s=uncertainty_s,
    )
    summary = f"{len(probes)} probes, {acknowledged} acknowledged writes"
    return Outcome(changed=was_active, summary=summary, evidence=evidence)


# What a vantage keeps of a run goes when its record was brought home, or there is none, and that is long ago.
KEPT_DAYS = 30
_FORGET = """
set -eu
touch "$2/brought-home"
find "$1" -mindepth 1 -maxdepth 1 -type d ! -name heads -mtime +"$3" | while read -r old; do
  if [ -e "$old/witness.jsonl" ]; then
    [ -e "$old/brought-home" ] || continue
    [ "$old/witness.jsonl" -nt "$old/brought-home" ] && continue
  fi
  rm -rf -- "$old"
done
"""


def _forget_old(action: CollectWitness, ctx: Context) -> None:
    """Mark a record as brought home, and let those go that were long ago; never one that was not."""
    words = ["sh", "-c", _FORGET, "forget", FOLDER, _folder(ctx), str(KEPT_DAYS)]
    done = ctx.remote(action.host).run(["sudo", "-n", *words])
    if done.exit_code:
        ctx.say(f"old records on {action.host} stay: {done.stderr.strip()}")


class _NotShipped(AdapterError):
    """The vantage host answers, and the program is not there."""


def _ship(ctx: Context, host: str, *more: str) -> None:
    remote, folder, user = ctx.remote(host), _folder(ctx), ctx.environment.automation_user
    make = ["sudo", "-n", "install", "-d", "-o", user, "-m", "0700", folder]
    _must(remote, make, "make its folder", host)
    for program in ("vantage.py", *more):
        remote.put(f"{folder}/{program}", (SHIPPED / program).read_bytes(), mode=0o700)


def _folder(ctx: Context) -> str:
    return f"{FOLDER}/{ctx.run_id}"


def _unit(ctx: Context) -> str:
    return f"mainstay-{ctx.run_id}-witness.service"


def _config(action: StartWitness, ctx: Context) -> str:
    return json.dumps(
        {
            "run_id": ctx.run_id,
            "beat_ms": action.beat_s * 1000,
            "timeout_ms": action.timeout_s * 1000,
            "probes": [_probe(probe) for probe in action.probes],
        },
        indent=1,
    )


def _probe(probe: Probe) -> dict[str, Any]:
    described = {
        "id": probe.id,
        "kind": probe.kind,
        "name": probe.name,
        "port": probe.port,
        "path": probe.path,
    }
    if probe.kind == "http-write":
        return {**described, "status": sorted({200, 201, probe.expect_status}), "body": WRITE_BODY}
    return {**described, "status": [probe.expect_status]}


def _systemd_run(unit: str, user: str, folder: str) -> list[str]:
    """A unit of its own outlives the controller; systemd starts it again if it is killed."""
    settings = ("Type=exec", f"User={user}", "Restart=on-failure", "RestartSec=200ms", "Nice=-5")
    properties = [f"--property={setting}" for setting in settings]
    program = ["python3", "-IS", f"{folder}/witness.py", "run", "--config", f"{folder}/config.json"]
    return ["sudo", "-n", "systemd-run", "--quiet", "--collect", f"--unit={unit}", *properties, *program]


def _await_record(remote: Remote, folder: str, unit: str, host: str) -> None:
    deadline = time.monotonic() + RECORD_APPEARS_WITHIN_S
    while remote.run(["test", "-s", f"{folder}/{ARTIFACT}"]).exit_code != 0:
        if time.monotonic() > deadline:
            said = remote.run(["sudo", "-n", "journalctl", "--no-pager", "-n", "5", "-u", unit]).stdout
            raise AdapterError(f"the witness on {host} was started but writes no record: {said.strip()}")
        time.sleep(0.05)


def _is_active(remote: Remote, unit: str) -> bool:
    return remote.run(["systemctl", "is-active", "--quiet", unit]).exit_code == 0


def _must(remote: Remote, argv: Sequence[str], attempt: str, host: str) -> Completed:
    done = remote.run(argv)
    if done.exit_code != 0:
        raise AdapterError(
            f"the witness on {host}: could not {attempt}: {done.stderr.strip() or done.stdout.strip()}"
        )
    return done


def _await(
    verdict: Literal["good", "failed"], action: AwaitGood | AwaitWell | AwaitFailed, ctx: Context
) -> Outcome:
    argv = [f"await-{verdict}", "--out", _folder(ctx), "--probes", *action.probes]
    argv += ["--count", str(action.count), "--timeout", str(ctx.timeout_s)]
    code, answer = _ask(ctx, action.host, argv)
    wanted = f"{action.count} {verdict} probes in a row of {', '.join(action.probes)}"
    if code != 0:
        raise AdapterError(
            f"{action.host} did not see {wanted}: {answer.get('reason') or answer}; nothing changed"
        )
    seen = answer["probes"]
    at = datetime.fromtimestamp(max(probe["at_wall_ns"] for probe in seen.values()) / 1e9, UTC)
    evidence = ProbesSeen(verdict=verdict, probes=tuple(sorted(seen)), at=at)
    return Outcome(changed=False, summary=f"{action.host} saw {wanted}", evidence=evidence)


def _ask(ctx: Context, host: str, argv: Sequence[str]) -> tuple[int, dict[str, Any]]:
    """Call the vantage program; it prints one line of JSON whatever happens."""
    program = ["python3", "-IS", f"{_folder(ctx)}/vantage.py"]
    done = ctx.remote(host).run([*program, *argv], timeout_s=ctx.timeout_s + 5)
    answers = _parse(done.stdout.encode())
    if not answers and "No such file" in done.stderr:
        raise _NotShipped(f"the vantage program is not on {host}; nothing changed")
    if not answers:
        raise AdapterError(f"asking the vantage {host} failed: {done.stderr.strip()}; nothing changed")
    return done.exit_code, answers[-1]


def _clock_offset(remote: Remote, host: str, tries: int = 5) -> tuple[float, float]:
    """The host's clock minus ours, and the most that this can be wrong by: half the shortest round trip.

    An offset that is smaller than its own uncertainty is taken as none: correcting by it would only add
    noise to clocks that agree, as those of one machine or of one NTP source do.
    """
    best = (0.0, float("inf"))
    for _ in range(tries):
        before = time.time()
        there = float(_must(remote, ["date", "+%s.%N"], "read its clock", host).stdout)
        after = time.time()
        best = min(best, (there - (before + after) / 2, (after - before) / 2), key=lambda pair: pair[1])
    offset_s, uncertainty_s = best
    return best if abs(offset_s) > uncertainty_s else (0.0, abs(offset_s) + uncertainty_s)


def _parse(content: bytes) -> list[dict[str, Any]]:
    lines = []
    for line in content.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue  # the last line of a witness that was killed may be cut off
        if isinstance(value, dict):
            lines.append(value)
    return lines
