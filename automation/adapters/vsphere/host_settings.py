"""What baselines change at a host: how each setting is read, what is wanted of it, and how it is set.

States are JSON, so that a journal holds them: what was before is put back from there.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

from pydantic import JsonValue
from pyVmomi import vim

from automation.adapters.vsphere import hosts
from automation.adapters.vsphere.errors import reason
from automation.adapters.vsphere.facts import exception_users
from automation.adapters.vsphere.hosts import STATE, connected, option_of, plain, service
from automation.adapters.vsphere.reading import Seen, read_one
from automation.adapters.vsphere.sessions import Vcenter
from automation.model.errors import AdapterError

State = dict[str, JsonValue]
Arguments = Mapping[str, JsonValue]
Goal = Callable[[State, Arguments], State]


class Setting(Protocol):
    """One thing that a call changes, at what bears a name; what is `now` was read right before."""

    def read(self) -> State:
        """Give how it is now."""

    def wanted(self, now: State, arguments: Arguments) -> State:
        """Give how it is to be, never laxer than it is.

        Raises:
            AdapterError: it must not be changed as it is, or an argument is missing.
        """

    def put(self, now: State, wanted: State) -> None:
        """Change what of it differs, and nothing else."""


class Host(NamedTuple):
    """A host as its vCenter knows it, read anew at every look."""

    vcenter: Vcenter
    name: str
    ref: Any

    def read(self, *paths: str) -> Seen:
        """Read properties of it.

        Raises:
            AdapterError: it is gone or not connected, or the vCenter does not give one of them.
        """
        seen = read_one(self.vcenter, self.ref, ("name", STATE, *paths))
        if seen is None or not connected(seen):
            raise self.refused("it is gone" if seen is None else f"it is {seen.get(STATE)}")
        for path, fault in seen.missing.items():
            raise self.refused(f"{path}: {reason(fault)}")
        return seen

    def refused(self, why: str, hint: str | None = None) -> AdapterError:
        """Give the error that says why it is left as it is."""
        return AdapterError(f"host {self.name}: {why}; it was left as it is", hint=hint)


class Lockdown(NamedTuple):
    """Whether only vCenter manages a host; strict mode, that only people choose, is never set."""

    host: Host

    def read(self) -> State:
        """Give its mode."""
        mode = str(self.host.read(hosts.MODE).get(hosts.MODE))
        return {"mode": hosts.LOCKDOWN.get(mode, mode)}

    def wanted(self, now: State, arguments: Arguments) -> State:
        """Lock down one that is open, where those who repair it keep their rights."""
        users = arguments.get("exceptions")
        if not isinstance(users, list) or not users:
            raise self.host.refused("nobody is named who keeps his rights there")
        if now["mode"] != "disabled":
            return now
        keep = exception_users(self.host.vcenter, self.host.read(hosts.ACCESS))
        if missing := sorted({str(one) for one in users} - set(keep)):
            raise self.host.refused(
                f"{', '.join(missing)} would lose their rights, and nobody could repair it without vCenter",
                hint="add them to the exception users of its lockdown mode first",
            )
        return {"mode": "normal"}

    def put(self, now: State, wanted: State) -> None:
        """Set the mode."""
        modes = {word: mode for mode, word in hosts.LOCKDOWN.items() if word != "strict"}
        mode = modes.get(str(wanted["mode"]))
        if mode is None:
            raise self.host.refused(f"lockdown mode {wanted['mode']} is set by people alone")
        access: Any = self.host.read(hosts.ACCESS).get(hosts.ACCESS)
        self.host.vcenter.change(lambda _content: access.ChangeLockdownMode(mode))


class Services(NamedTuple):
    """Services of a host: whether they run, and when they are started."""

    host: Host
    keys: Mapping[str, str]  # word to the service's key
    running: bool
    policy: str

    def read(self) -> State:
        """Give each service's state."""
        seen = self.host.read(hosts.SERVICES)
        return {word: service(seen, key) for word, key in self.keys.items()}

    def wanted(self, now: State, arguments: Arguments) -> State:
        """Want the same of each."""
        return {word: {"running": self.running, "policy": self.policy} for word in now}

    def put(self, now: State, wanted: State) -> None:
        """Set when they are started, start and stop."""
        system: Any = self.host.read(hosts.SERVICE_SYSTEM).get(hosts.SERVICE_SYSTEM)
        change = self.host.vcenter.change
        for word, key in self.keys.items():
            was, goal = _words(now[word]), _words(wanted[word])
            if was["policy"] != goal["policy"]:
                change(partial(_set_policy, system=system, key=key, policy=str(goal["policy"])))
            if was["running"] != goal["running"]:
                change(partial(_start if goal["running"] else _stop, system=system, key=key))


class Clock(NamedTuple):
    """The service that takes the time from servers."""

    services: Services

    def read(self) -> State:
        """Give the service's state."""
        return self.services.read()

    def wanted(self, now: State, arguments: Arguments) -> State:
        """Want it to run, where there is a server to ask."""
        host = self.services.host
        if not hosts.servers_of(host.read(hosts.SERVERS)):
            raise host.refused("its clock has no server to ask", hint="people set its time servers first")
        return self.services.wanted(now, arguments)

    def put(self, now: State, wanted: State) -> None:
        """Start it, now and with the host."""
        self.services.put(now, wanted)


class Options(NamedTuple):
    """Advanced options of a host, by words for them."""

    host: Host
    keys: Mapping[str, str]  # word to the option's key
    goal: Goal

    def read(self) -> State:
        """Give each option's value; a host that has not all of them cannot be changed so."""
        seen = self._seen()
        values = {word: plain(option_of(seen, key)) for word, key in self.keys.items()}
        if lacking := [self.keys[word] for word, value in values.items() if value is None]:
            raise self.host.refused(f"it has no option {', '.join(lacking)}")
        return values

    def wanted(self, now: State, arguments: Arguments) -> State:
        """Want what the goal makes of each."""
        return self.goal(now, arguments)

    def put(self, now: State, wanted: State) -> None:
        """Set those that differ, each as a value of the type that it has."""
        seen = self._seen()
        changed = [
            vim.option.OptionValue(key=key, value=type(option_of(seen, key))(wanted[word]))
            for word, key in self.keys.items()
            if now[word] != wanted[word]
        ]
        manager: Any = seen.get(hosts.OPTIONS)
        self.host.vcenter.change(lambda _content: manager.UpdateOptions(changed))

    def _seen(self) -> Seen:
        return self.host.read(hosts.OPTIONS, *(hosts.option(key) for key in self.keys.values()))


def all_true(now: State, _arguments: Arguments) -> State:
    """Switch every one on. Pure."""
    return dict.fromkeys(now, True)


def end_within(now: State, arguments: Arguments) -> State:
    """Shorten what never ends, or later than after `seconds`; what ends sooner stays. Pure."""
    most = _number(arguments, "seconds")
    return {word: value if 1 <= _number(now, word) <= most else most for word, value in now.items()}


def lock_out(now: State, arguments: Arguments) -> State:
    """Lock accounts after `tries` failed logins, for `unlock_s`; what is stricter stays. Pure."""
    most, least_s = _number(arguments, "tries"), _number(arguments, "unlock_s")
    tries, unlock_s = _number(now, "tries"), _number(now, "unlock_s")
    return {
        "tries": tries if 1 <= tries <= most else most,
        "unlock_s": unlock_s if unlock_s == 0 or unlock_s >= least_s else least_s,
    }


def _number(known: Arguments, name: str) -> int:
    value = known.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise AdapterError(f"{name} is {value!r} and no number; nothing was changed")
    return value


def _words(value: JsonValue) -> State:
    if not isinstance(value, dict) or not {"running", "policy"} <= value.keys():
        raise AdapterError(f"{value!r} is no state of a service; it was left as it is")
    return value


def _set_policy(_content: Any, *, system: Any, key: str, policy: str) -> None:
    system.UpdateServicePolicy(key, policy)


def _start(_content: Any, *, system: Any, key: str) -> None:
    system.StartService(key)


def _stop(_content: Any, *, system: Any, key: str) -> None:
    system.StopService(key)
