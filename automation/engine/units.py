"""Remote work that outlives its controller: one transient systemd unit a step, on the host.

Invariant: the work of a unit's name begins at most once, ever. The folder `began`, which the unit makes
before the work, decides that; it outlives a reboot of the host, systemd's memory of a unit does not. What
the unit said stays beside it, so whoever asks later is told the same.
"""

import math
import shlex
import time
from collections.abc import Sequence
from typing import NamedTuple

from automation.model.errors import AdapterError, OutcomeUnknown
from automation.model.records import Completed, Remote, UnitState

FOLDER = "/var/lib/mainstay/units"
RECONNECT_S = 0.5
# How much longer than the unit the connection is waited for.
_ANSWER_S = 3.0
_NOT_STARTED, _STILL_RUNS, _LOST = 74, 75, 76
# Of whoever waits on the host: its power was cut, or its console gave up. The unit may have begun.
_TIMED_OUT, _BY_A_SIGNAL = 124, 128

# In the unit, as root: $1 its folder, $2 the process that started it, which has files of its own. Who waits
# is told through the pipe; opened for both directions it never blocks. Only then the answer is made to last
# and what is 30 days old is removed.
_WORK = """
d=$1
mkdir "$d/began" || exit 0
sh "$d/command.$2" <"$d/stdin.$2" >"$d/stdout" 2>"$d/stderr"
code=$?
echo "$code" >"$d/exit.new"; mv "$d/exit.new" "$d/exit"
echo 1<>"$d/told"
rm -f "$d"/stdin.*
sync "$d/exit" "$d/stdout" "$d/stderr" "$d"
find "${d%/*}" -mindepth 1 -maxdepth 1 -mtime +30 -exec rm -rf {} +
exit "$code"
"""

# A unit is there as long as it is in any state but these two, or a job of it waits its turn.
_IS_THERE = """
there() {
  case $(systemctl show --property=ActiveState,Job --value "$1" | tr -d '\n') in
    inactive | failed) return 1 ;;
  esac
}
"""

# Over SSH, as root: $1 the unit, $2 seconds to wait, $3 _WORK, $4 the command, $5 the bytes of stdin, which
# is the command's. They reach the unit as files, because systemd expands $ and % in a command line of its own
# accord. A controller that is killed while it sends looks like the end of stdin: hence the count.
_START_OR_JOIN = f"""
set -u
umask 077
{_IS_THERE}
unit=$1 limit=$2
d={FOLDER}/$unit
end=$(($(date +%s) + limit))
mkdir -p "$d" && {{ [ -p "$d/told" ] || mkfifo "$d/told" || [ -p "$d/told" ]; }} || exit {_NOT_STARTED}
exec 3<>"$d/told"
said=
if [ ! -e "$d/began" ]; then
  printf %s "$3" >"$d/work.$$" && printf %s "$4" >"$d/command.$$" && cat >"$d/stdin.$$" || exit {_NOT_STARTED}
  [ "$(wc -c <"$d/stdin.$$")" -eq "$5" ] || {{ echo "its input was cut off" >&2; exit {_NOT_STARTED}; }}
  said=$(systemd-run --quiet --no-block --collect --unit="$unit" --description="a step of Mainstay" \
    --property=Type=oneshot --property=TimeoutStartSec=infinity -- /bin/sh "$d/work.$$" "$d" "$$" 2>&1)
fi
until [ -e "$d/exit" ]; do
  timeout 0.5 head -c 1 <&3 >/dev/null && continue
  if ! there "$unit" && [ ! -e "$d/exit" ]; then
    [ -e "$d/began" ] && exit {_LOST}
    echo "$said" >&2
    exit {_NOT_STARTED}
  fi
  [ "$(date +%s)" -lt "$end" ] || exit {_STILL_RUNS}
done
cat "$d/stdout"
cat "$d/stderr" >&2
printf '\n%s' "$(cat "$d/exit")" >&2
"""

_STATE = f"""
{_IS_THERE}
d={FOLDER}/$1
if [ -e "$d/exit" ]; then echo ended
elif there "$1"; then echo running
elif [ -e "$d/exit" ]; then echo ended
elif [ -e "$d/began" ]; then echo lost
else echo absent
fi
"""


class Unit(NamedTuple):
    """The unit of one attempt of one step, on one host."""

    name: str
    host: str
    remote: Remote

    def run(self, argv: Sequence[str], stdin: str | None, timeout_s: float) -> Completed:
        """Start the unit, or join the one that runs or ran, and give what it said.

        A lost connection is opened again and the unit joined, until the time is up.

        Raises:
            AdapterError: the unit could not be started; nothing was changed.
            OutcomeUnknown: it did not end in time, or it began and left no result.
        """
        deadline = time.monotonic() + timeout_s
        lost = False
        while True:
            left = max(1.0, deadline - time.monotonic())
            size = str(len((stdin or "").encode()))
            words = [self.name, str(math.ceil(left)), _WORK, "exec " + shlex.join(argv), size]
            try:
                done = self.remote.run(
                    ["sudo", "-n", "sh", "-c", _START_OR_JOIN, "unit", *words],
                    stdin=stdin or "",
                    timeout_s=left + _ANSWER_S,
                )
            except AdapterError as exc:
                if lost and not exc.transient:
                    raise OutcomeUnknown(
                        f"unit {self.name} on {self.host}: {exc}; it may have begun before; state unknown",
                        hint="resume the run: it looks first how far the step came",
                    ) from exc
                if not exc.transient or time.monotonic() + RECONNECT_S > deadline:
                    raise
                lost = True
                time.sleep(RECONNECT_S)
                continue
            return self._told(done, timeout_s)

    def _told(self, done: Completed, timeout_s: float) -> Completed:
        if done.exit_code == 0:
            said, _, code = done.stderr.rpartition("\n")
            return Completed(exit_code=int(code), stdout=done.stdout, stderr=said)
        if done.exit_code == _STILL_RUNS:
            raise OutcomeUnknown(
                f"unit {self.name} on {self.host}: still runs after {timeout_s:g} s; it goes on by itself",
                hint="resume the run: it joins the unit and waits for its end",
            )
        if done.exit_code == _LOST:
            raise OutcomeUnknown(
                f"unit {self.name} on {self.host}: it began and left no result; state unknown",
                hint=f"journalctl -u {self.name} on {self.host}; its output is in {FOLDER}/{self.name}",
            )
        if done.exit_code < 0 or done.exit_code > _BY_A_SIGNAL or done.exit_code == _TIMED_OUT:
            raise OutcomeUnknown(
                f"unit {self.name} on {self.host}: who waited for it was ended ({done.exit_code}); "
                "state unknown",
                hint="resume the run: it looks first how far the step came",
            )
        raise AdapterError(
            f"unit {self.name} on {self.host}: not started ({done.stderr.strip()}); nothing was changed"
        )

    def state(self) -> UnitState:
        """Say how far the unit is; changes nothing."""
        done = self.remote.run(["sudo", "-n", "sh", "-c", _STATE, "state", self.name])
        answers: dict[str, UnitState] = {
            "absent": "absent",
            "running": "running",
            "ended": "ended",
            "lost": "lost",
        }
        try:
            return answers[done.stdout.strip()]
        except KeyError:
            raise AdapterError(f"unit {self.name} on {self.host}: {done.stderr.strip()}") from None


def unit_name(run_id: str, step_id: str, attempt: int) -> str:
    """Name the unit of a step; an attempt after a failure that was written down has a unit of its own.

    A colon may stand in a unit's name and not in a step's id.
    """
    name = f"mainstay-{run_id}-{step_id.replace('/', '-')}"
    return name if attempt == 1 else f"{name}:{attempt}"
