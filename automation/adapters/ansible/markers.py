"""What a host says of a change that was made on it: armed, confirmed, kept, reverted or undone."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from automation.model.baseline_evidence import SettingSeen
from automation.model.errors import AdapterError
from automation.model.host_settings import CHANGES
from automation.model.records import Completed, Remote

STATES = ("absent", "none", "armed", "confirmed", "reverted", "undone", "kept")
_ANSWER_S = 15.0
_WORDS = 300
# $1 the program beside the change, $2 what is asked of it.
_ASK = """
[ -e "$1" ] || { echo '{"state": "absent"}'; exit 0; }
exec python3 -I "$1" "$2"
"""


class Marker(NamedTuple):
    """Where a change stands.

    `absent`: the host knows none of its name; `none`: it was begun, had no switch, and nobody saw it end.
    """

    state: str
    why: str = ""
    settings: tuple[SettingSeen, ...] = ()
    restored: tuple[str, ...] = ()
    left: Mapping[str, str] = {}
    failed: Mapping[str, str] = {}

    @property
    def is_final(self) -> bool:
        """Whether it stays until somebody undoes it."""
        return self.state in ("confirmed", "kept")

    def because(self, why: str) -> "Marker":
        """Give it with what was met before, ahead of its own reason."""
        parts = (why,) if self.why in why else (why, self.why)
        return self._replace(why="; ".join(filter(None, parts)))

    @classmethod
    def of(cls, done: Completed, host: str, change: str) -> "Marker":
        """Read what the program on the host said.

        Raises:
            AdapterError: it said what is no marker.
        """
        try:
            if not done.stdout.strip():
                raise ValueError((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
            told: dict[str, Any] = json.loads(done.stdout)
            if told["state"] not in STATES:
                raise ValueError(told["state"])
            return cls(
                told["state"],
                _clean(told.get("why", "")),
                tuple(SettingSeen.model_validate(one) for one in told.get("settings", ())),
                tuple(map(_clean, told.get("restored", ()))),
                _words_of(told.get("left", {})),
                _words_of(told.get("failed", {})),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
            raise AdapterError(f"change {change} of {host} cannot be read: {_clean(exc)}") from exc


def ask(remote: Remote, host: str, change: str, what: str) -> Marker:
    """Ask the program that a change left on its host for its state, or to confirm it.

    Raises:
        AdapterError: it does not answer, or says what is no marker.
    """
    argv = ["sudo", "-n", "sh", "-c", _ASK, "ask", f"{CHANGES}/{change}/revert.py", what]
    return Marker.of(remote.run(argv, timeout_s=_ANSWER_S), host, change)


def prove_sudo(remote: Remote, host: str) -> None:
    """See that a login may become root without a password.

    Raises:
        AdapterError: it may not, or does not answer.
    """
    done = remote.run(["sudo", "-k", "-n", "true"], timeout_s=_ANSWER_S)  # -k: whatever it remembers
    if done.exit_code:
        raise AdapterError(f"a fresh login to {host} may not use sudo: {_clean(done.stderr.strip())}")


def _words_of(told: Mapping[str, Any]) -> dict[str, str]:
    return {_clean(what): _clean(why) for what, why in told.items()}


def _clean(value: object) -> str:
    text = " ".join(str(value).split())[:_WORDS]
    return "".join(sign if sign.isprintable() else "?" for sign in text)
