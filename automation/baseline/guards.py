"""What must hold before a setting is changed: computed from facts, or answered by a person. Pure.

Every guard that a control names stands here. One that a program can answer has a function; any other is a
question to people, and what it guards is left out until somebody says yes to it by its name.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from automation.baseline.asking import Asker, NoAnswer
from automation.baseline.controls import Control
from automation.model.facts import Facts

# Servers of these have a console that needs neither sshd nor the network of the host itself.
CONSOLES = ("nspawn", "vsphere")
ROUTING_PACKAGES = (
    "bird2",
    "frr",
    "keepalived",
    "libvirt-daemon",
    "lxc",
    "openvpn",
    "quagga",
    "strongswan",
    "wireguard",
    "wireguard-tools",
)

# By these people log in who stand in no /etc/passwd, and nobody can ask for their keys.
DIRECTORIES = ("pam_krb5", "pam_ldap", "pam_sss", "pam_winbind")

ROOTS = "accounts.users[?uid == `0`].name"
PEOPLE = "accounts.users[?can_log_in && !system && entry == 'set'].name"
LOGINS = "accounts.users[?can_log_in].[name, gid, entry]"
GROUPS = "accounts.groups"
EVERYTHING = "sudo.everything"
WITHOUT_PASSWORD = "sudo.without_password"
# One that could not be read lets nobody in, and one that is restricted may only lead to one command.
KEYS = "authorized_keys[?!restricted && fingerprint].user"
MODULES = "sort(pam.modules.*[])"  # whatever order files were read in
AUTH_MODULES = 'pam.modules."common-auth"'
# What no remedy writes over: a umask that a file of the shell sets by itself, whose lines are people's.
SHELL_UMASKS = "shells.umasks[?file != '/etc/profile.d/50-mainstay-umask.sh'].[file, value]"
STRICT_UMASKS = ("027", "077", "0027", "0077")


class Scene(NamedTuple):
    """What guards know beside the facts."""

    automation_user: str
    provider: str = ""


class Refusal(NamedTuple):
    """A guard that does not hold."""

    guard: str
    why: str


Guard = Callable[[Facts, Scene], str]


def refusals(control: Control, facts: Facts, scene: Scene, accepted: Collection[str]) -> Iterator[Refusal]:
    """Give every guard of a control that does not hold, with the reason.

    Args:
        accepted: guards that a person has answered with yes.
    """
    for name in guards_of(control):
        if name in accepted:
            continue
        if name in COMPUTED:
            if why := COMPUTED[name](facts, scene):
                yield Refusal(name, why)
        else:
            yield Refusal(name, f"people have to say: {ASKED.get(name, 'nobody knows this guard')}")


def guards_of(control: Control) -> tuple[str, ...]:
    """Name the guards of a control: its own, and that which every lock-out risk on a host has."""
    if control.remedy is None:
        return ()
    two_ways = control.platform == "linux" and control.remedy.risk == "R2"
    return tuple(dict.fromkeys((*(("console_or_second_admin",) if two_ways else ()), *control.remedy.guards)))


def facts_of(guard: str, scene: Scene) -> tuple[str, ...]:
    """Give what a guard of a host asks: while that is so, the guard holds as it did."""
    if guard == "console_or_second_admin" and scene.provider in CONSOLES:
        return ()
    return _FACTS.get(guard, ())


def unknown_guards(control: Control) -> tuple[str, ...]:
    """Name the guards of a control that nothing here knows: a mistake in its file."""
    return tuple(name for name in guards_of(control) if name not in COMPUTED and name not in ASKED)


# --- computed --------------------------------------------------------------------------------------


def _automation_user_is_not_root(facts: Facts, scene: Scene) -> str:
    roots = _asked(ROOTS, facts)
    if roots is None:
        return "its accounts are not known"
    return f"{scene.automation_user} is root itself" if scene.automation_user in roots else ""


def _console_or_second_admin(facts: Facts, scene: Scene) -> str:
    """Two ways in before what may lock people out: the provider's console, or another administrator."""
    if scene.provider in CONSOLES:
        return ""
    admins = _administrators(facts)
    if admins is None:
        return "who may log in and become root there is not known"
    others = sorted(admins - {scene.automation_user, "root"})
    return "" if others else f"nobody but {scene.automation_user} can log in and become root, no console"


def _everybody_has_a_key(facts: Facts, scene: Scene) -> str:
    people, keys, modules = _asked(PEOPLE, facts), _asked(KEYS, facts), _asked(MODULES, facts)
    if people is None or keys is None or modules is None:
        return "who logs in by a password alone is not known"
    if found := sorted({one for one in modules if one.startswith(DIRECTORIES)}):
        return (
            f"who logs in by a password alone is not known: {', '.join(found)} lets in whom a directory knows"
        )
    without = sorted(set(people) - set(keys))
    return f"{', '.join(without[:4])} would be locked out: a password and no key" if without else ""


def _logins_ask_faillock(facts: Facts, scene: Scene) -> str:
    modules = _asked(AUTH_MODULES, facts)
    if modules is None:
        return "how logins are checked is not known"
    return (
        "" if "pam_faillock.so" in modules else "logins do not ask pam_faillock, which people set up in PAM"
    )


def _no_shell_file_says_otherwise(facts: Facts, scene: Scene) -> str:
    umasks = _asked(SHELL_UMASKS, facts)
    if umasks is None:
        return "which umask its shells set is not known"
    laxer = [f"{file} says umask {value}" for file, value in umasks if value not in STRICT_UMASKS]
    return f"{', '.join(laxer[:4])}, which people change" if laxer else ""


def _nothing_routes_here(facts: Facts, scene: Scene) -> str:
    packages = _asked("keys(packages)", facts)
    if packages is None:
        return "its packages are not known"
    found = sorted(set(packages) & set(ROUTING_PACKAGES))
    return f"{', '.join(found)} is installed and may route" if found else ""


def _exception_users_are_there(facts: Facts, scene: Scene) -> str:
    hosts = _asked("lockdown[?mode == 'disabled']", facts)
    if hosts is None:
        return "who keeps his rights at its hosts is not known"
    needed = {"mainstay", "break-glass"}
    bare = [str(one.get("name")) for one in hosts if not needed <= set(one.get("exceptions") or ())]
    return f"{', '.join(bare[:4])} has no exception users mainstay and break-glass" if bare else ""


def _no_public_bucket(facts: Facts, scene: Scene) -> str:
    return _no_bucket("s3.buckets[?public != `false`].name", "public", facts)


def _no_website_bucket(facts: Facts, scene: Scene) -> str:
    return _no_bucket("s3.buckets[?website != `false`].name", "a website", facts)


def _no_bucket(expression: str, what: str, facts: Facts) -> str:
    """Say which buckets strangers read, or do not let that be asked."""
    found = _asked(expression, facts)
    if found is None or _asked("all_buckets", facts) is not True:
        return "not all of its buckets are known"
    return f"{', '.join(found[:4])} is {what}, or does not say" if found else ""


def _vcenter_answers(facts: Facts, scene: Scene) -> str:
    return "" if _asked("hosts", facts) is not None else "vCenter did not tell its hosts"


COMPUTED: Mapping[str, Guard] = {
    "automation_user_is_not_root": _automation_user_is_not_root,
    "console_or_second_admin": _console_or_second_admin,
    "everybody_has_a_key": _everybody_has_a_key,
    "exception_users_are_there": _exception_users_are_there,
    "logins_ask_faillock": _logins_ask_faillock,
    "no_public_bucket": _no_public_bucket,
    "no_shell_file_says_otherwise": _no_shell_file_says_otherwise,
    "no_website_bucket": _no_website_bucket,
    "nothing_routes_here": _nothing_routes_here,
    "vcenter_answers": _vcenter_answers,
}
# What those that hold on hosts ask; what changes by itself is not among it.
_FACTS: Mapping[str, tuple[str, ...]] = {
    "automation_user_is_not_root": (ROOTS,),
    "console_or_second_admin": (LOGINS, GROUPS, EVERYTHING, WITHOUT_PASSWORD, KEYS),
    "everybody_has_a_key": (PEOPLE, KEYS, MODULES),
    "logins_ask_faillock": (AUTH_MODULES,),
    "no_shell_file_says_otherwise": (SHELL_UMASKS,),
    "nothing_routes_here": tuple(f'packages."{one}"' for one in ROUTING_PACKAGES),
}
# Every control has it, once it was changed and changed back too often.
NOT_FOUGHT_OVER = "not_fought_over"
ASKED: Mapping[str, str] = {
    NOT_FOUGHT_OVER: "was it found who changes it back, and stopped?",
    "another_way_in": "does everybody who comes by that rule have another way in?",
    "backup_of_vcenter_is_recent": "is the backup of vCenter recent, and was it restored once?",
    "break_glass_logs_in": "has somebody logged in as break-glass lately?",
    "clients_are_in_the_network": "are all clients of that database in its own network?",
    "clients_speak_tls_1_2": "do all clients of vCenter and its hosts speak TLS 1.2?",
    "clock_is_near": "are the clocks of those hosts near the right time?",
    "log_server_has_a_trusted_certificate": "do those hosts trust the certificate of the log server?",
    "no_appliance_that_needs_it": "is there no appliance in those networks that needs it?",
    "no_call_without_session_lately": "has no program asked those servers without a session lately?",
    "no_open_support_window": "does no vendor work on those hosts now?",
    "not_break_glass": "is none of those logins kept for emergencies?",
    "not_our_own_credentials": "is none of those logins or keys that of Mainstay itself?",
    "rule_is_not_in_use_by_us": "does Mainstay itself not come by that rule?",
    "second_administrator_logs_in": "has a second administrator of vCenter logged in lately?",
}


def _administrators(facts: Facts) -> set[str] | None:
    """Name who can log in by a key and do everything by sudo, without a password or with one they have."""
    users, groups = _asked(LOGINS, facts), _asked(GROUPS, facts)
    rules, free, keys = _asked(EVERYTHING, facts), _asked(WITHOUT_PASSWORD, facts), _asked(KEYS, facts)
    if users is None or groups is None or rules is None or free is None or keys is None:
        return None
    found = set()
    for name, gid, entry in users:
        member_of = {one for one, told in groups.items() if name in told["members"] or told["gid"] == gid}
        names = {name, *(f"%{one}" for one in member_of)}
        if name in keys and names & set(rules) and (entry == "set" or names & set(free)):
            found.add(str(name))
    return found


def _asked(expression: str, facts: Facts) -> Any:
    """Ask facts; None: not known, or of another form than collectors give."""
    try:
        return Asker(facts).search(expression)
    except NoAnswer:
        return None
