"""What is enforced: what failed and may be changed; all else is left out, each with its reason."""

from typing import Any

import pytest

from automation.baseline.enforcement import Case, Decided, Wish, decide
from automation.baseline.fights import Fight
from automation.baseline.guards import ASKED, COMPUTED, Scene
from automation.baseline.judge import judge
from automation.baseline.settings import Baseline
from automation.baseline.waivers import Waiver
from automation.commands._controls import load_controls
from automation.model.facts import Facts
from automation.model.host_settings import KeyValueSetting, SshdSetting
from tests.baseline.examples import NOW

CONTROLS = load_controls()
EVERYTHING = [{"controls": ["*"], "groups": ["all"]}]
LAB = Scene("ops", "nspawn")
SSHD = {"packages": {"openssh-server": "1"}}
MAX_TRIES = {**SSHD, "sshd": {"effective": {"maxauthtries": "10"}}}


def settings(profile: str = "cis-l1", enforce: Any = EVERYTHING) -> Baseline:
    return Baseline.model_validate({"profile": profile, "enforce": enforce})


def decided(
    sections: Any,
    *controls: str,
    wish: Wish | None = None,
    fights: tuple[Fight, ...] = (),
    waivers: tuple[Waiver, ...] = (),
    shared_kernel: bool = False,
    scene: Scene = LAB,
) -> Decided:
    told = dict(sections)
    roles = tuple(told.pop("host", {}).get("roles", ()))
    wish = wish or Wish(settings())
    chosen = tuple(CONTROLS[name] for name in controls)
    facts = Facts(
        subject="web",
        platform=chosen[0].platform,
        collected_at=NOW,
        roles=roles,
        sections=told,
        shared_kernel=shared_kernel,
    )
    assessment = judge(facts, chosen, wish.settings.profile, NOW, waivers)
    return decide(Case(facts, assessment, scene, fights), CONTROLS, wish)


def test_a_failed_setting_is_changed_to_what_the_profile_wants() -> None:
    found = decided(MAX_TRIES, "lin.ssh.auth-tries")
    (one,) = found.enforced.settings
    assert one.setting == SshdSetting(kind="sshd", keyword="MaxAuthTries", value=4)
    assert (one.risk, one.shown) == ("R2", "sshd MaxAuthTries: 10 -> 4")
    assert found.left_out == ()
    assert found.enforced.expected == {
        "sshd.effective.maxauthtries": "10",
        "contains(keys(packages), 'openssh-server')": True,
    }


TWO_ADMINS = {
    "accounts": {
        "users": [{"name": name, "gid": 9, "entry": "none", "can_log_in": True} for name in ("ops", "ana")],
        "groups": {},
    },
    "sudo": {"everything": ["ana", "ops"], "without_password": ["ana", "ops"]},
    "authorized_keys": [
        {"user": name, "restricted": False, "fingerprint": "SHA256:a"} for name in ("ops", "ana")
    ],
}
ASKED_OF_KEYS = "authorized_keys[?!restricted && fingerprint].user"


def test_what_a_guard_stood_on_must_still_be_so_when_it_is_changed() -> None:
    bare = Scene("ops", "unmanaged")
    found = decided({**MAX_TRIES, **TWO_ADMINS}, "lin.ssh.auth-tries", scene=bare).enforced.expected
    assert found[ASKED_OF_KEYS] == ["ops", "ana"]
    assert found["sudo.without_password"] == ["ana", "ops"]
    wish = Wish(settings(), accepted=frozenset({"console_or_second_admin"}))
    said = decided({**MAX_TRIES, **TWO_ADMINS}, "lin.ssh.auth-tries", wish=wish, scene=bare)
    assert ASKED_OF_KEYS not in said.enforced.expected, "a person answered for it, whatever the facts"


def test_what_is_stricter_already_is_not_made_laxer() -> None:
    idle = {**SSHD, "sshd": {"effective": {"clientaliveinterval": "120", "clientalivecountmax": "0"}}}
    found = decided(idle, "lin.ssh.idle")
    assert [one.shown for one in found.enforced.settings] == ["sshd ClientAliveCountMax: 0 -> 3"]


def test_a_weak_key_exchange_is_replaced_by_strong_ones() -> None:
    weak = {
        **SSHD,
        "sshd": {
            "effective": {
                "ciphers": ["aes256-ctr"],
                "macs": ["hmac-sha2-256"],
                "kexalgorithms": ["diffie-hellman-group1-sha1"],
            }
        },
    }
    (one,) = decided(weak, "lin.ssh.algorithms").enforced.settings
    assert isinstance(one.setting, SshdSetting)
    strong = {"ciphers": ["aes256-ctr"], "macs": ["hmac-sha2-256"], "kexalgorithms": one.setting.value}
    assert decided({**SSHD, "sshd": {"effective": strong}}, "lin.ssh.algorithms").enforced.controls == ()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("Debian GNU/Linux 12\n\n", ["/etc/issue.net", "Banner"]),
        ("Authorised use only, says the city.\n", ["Banner"]),
    ],
)
def test_a_banner_that_people_wrote_is_kept_and_that_of_the_system_is_not(text: str, what: list[str]) -> None:
    shown = {"effective": {"banner": "none"}, "contexts": [{"banner": "none"}]}
    found = decided({**SSHD, "sshd": shown, "banners": {"/etc/issue.net": text}}, "lin.ssh.banner").enforced
    assert [getattr(one.setting, "path", "Banner") for one in found.settings] == what


def test_what_only_a_match_block_says_is_left_to_people() -> None:
    login = {
        **SSHD,
        "sshd": {
            "effective": {"permitemptypasswords": "no"},
            "contexts": [{"user": "kiosk", "permitemptypasswords": "yes"}],
        },
    }
    found = decided(login, "lin.ssh.empty-passwords")
    assert found.enforced.controls == ()
    assert "nothing that a program may change" in found.left_out[0].why


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"wish": Wish(settings(enforce=[]))}, "audited alone"),
        (
            {"wish": Wish(settings(enforce=[{"controls": ["lin.sudo.*"], "groups": ["all"]}]))},
            "audited alone",
        ),
        ({"wish": Wish(settings(enforce=[{"controls": ["*"], "groups": ["db"]}]))}, "audited alone"),
        ({"fights": (Fight("lin.ssh.auth-tries", "web", ("a", "b", "c")),)}, "changed 3 times"),
    ],
    ids=["nothing let", "another control let", "another group let", "fought over"],
)
def test_what_may_not_be_changed_is_left_out_with_its_reason(more: Any, why: str) -> None:
    found = decided(MAX_TRIES, "lin.ssh.auth-tries", **more)
    assert (found.enforced.settings, len(found.left_out)) == ((), 1)
    assert why in found.left_out[0].why


def test_an_account_may_be_meant_by_a_provider_of_it() -> None:
    regions = [{"name": "r0", "encrypts_new_disks": False}]
    told = {"ec2": {"regions": regions}, "all_regions": True}
    facts = Facts(subject="123456789012", platform="aws", collected_at=NOW, sections=told)
    name = "aws.ec2.encrypted-disks"
    assessment = judge(facts, (CONTROLS[name],), "cis-l1", NOW)
    wish = Wish(settings(enforce=[{"controls": ["aws.*"], "groups": ["east"]}]))
    assert decide(Case(facts, assessment, LAB, (), ("east",)), CONTROLS, wish).enforced.calls
    assert not decide(Case(facts, assessment, LAB, (), ("west",)), CONTROLS, wish).enforced.calls


def test_a_fight_over_another_hosts_setting_is_no_reason() -> None:
    fights = (Fight("lin.ssh.auth-tries", "db", ("a", "b", "c")),)
    assert decided(MAX_TRIES, "lin.ssh.auth-tries", fights=fights).enforced.settings


def test_a_waived_control_is_not_enforced() -> None:
    waiver = Waiver.model_validate(
        {
            "id": "old-client",
            "control": "lin.ssh.auth-tries",
            "subjects": ["web"],
            "reason": "the old client tries every key",
            "compensated_by": "it is reached from one subnet alone",
            "observed": {"sshd.effective.maxauthtries": "10"},
            "requested_by": "web-owner",
            "approved_by": "security-officer",
            "starts": "2026-11-01T00:00:00Z",
            "expires": "2026-12-01T00:00:00Z",
        }
    )
    found = decided(MAX_TRIES, "lin.ssh.auth-tries", waivers=(waiver,))
    assert found.enforced.controls == ()
    assert found.left_out[0].why == "waived by old-client"


def test_what_a_shared_kernel_hides_is_never_enforced() -> None:
    syn = {"sysctl": {"running": {"net.ipv4.tcp_syncookies": "0", "net.ipv4.conf.all.log_martians": "1"}}}
    assert decided(syn, "lin.kernel.syncookies").enforced.settings
    found = decided(syn, "lin.kernel.syncookies", shared_kernel=True)
    assert found.enforced.controls == ()
    assert found.left_out[0].why.startswith("not known: shared-kernel")


def test_what_is_so_until_the_next_boot_alone_is_written_down() -> None:
    martians = {"net.ipv4.tcp_syncookies": "1", "net.ipv4.conf.all.log_martians": "1"}
    found = decided({"sysctl": {"running": martians, "persistent": {}}}, "lin.kernel.syncookies")
    assert [one.shown for one in found.enforced.settings] == [
        "sysctl net.ipv4.conf.all.log_martians: 1, in no file -> 1"
    ]


@pytest.mark.parametrize(
    ("risk", "why"),
    [("R3", "needs a window and a boot, which people plan"), ("R4", "cannot be taken back: people do it")],
)
def test_what_needs_a_boot_or_cannot_be_taken_back_is_never_changed(
    risk: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "lin.ssh.auth-tries"
    remedy = CONTROLS[name].remedy
    assert remedy is not None
    risky = CONTROLS[name].model_copy(update={"remedy": remedy.model_copy(update={"risk": risk})})
    monkeypatch.setitem(CONTROLS, name, risky)
    found = decided(MAX_TRIES, name)
    assert found.enforced.settings == ()
    assert found.left_out[0].why == why


def test_packages_are_left_to_people_and_so_is_what_they_bring() -> None:
    pam = {"modules": {"common-password": ["pam_unix.so"]}, "pwquality": {}, "arguments": {"pwquality": {}}}
    found = decided({"pam": pam, "packages": {}}, "lin.accounts.password-quality")
    assert found.enforced.settings == ()
    assert "apt-get install --no-install-recommends libpam-pwquality" in found.left_out[0].why


def test_a_person_s_answer_opens_a_guard_and_stands_in_the_plan() -> None:
    block = {"s3": {"account_block": dict.fromkeys(("block_acls", "ignore_acls", "block_policy"), True)}}
    block["s3"]["account_block"]["restrict"] = False
    name = "aws.s3.account-public-block"
    refused = decided(block, name)
    assert refused.enforced.calls == ()
    guards = refused.left_out[0].guards
    assert set(guards) <= {*ASKED, *COMPUTED}
    found = decided(block, name, wish=Wish(settings(), accepted=frozenset(guards)))
    assert [one.call for one in found.enforced.calls] == ["block_public_buckets"]
    assert found.enforced.accepted == tuple(sorted(guards))


def test_a_call_is_made_for_each_that_the_facts_name() -> None:
    regions = [{"name": f"r{number}", "encrypts_new_disks": number == 1} for number in range(3)]
    found = decided({"ec2": {"regions": regions}, "all_regions": True}, "aws.ec2.encrypted-disks")
    assert [(one.call, one.on) for one in found.enforced.calls] == [
        ("encrypt_new_disks", "r0"),
        ("encrypt_new_disks", "r2"),
    ]


def test_only_rules_by_which_administrators_come_are_revoked() -> None:
    anybody = {"direction": "in", "open": True, "from_port": None, "to_port": None}
    ssh = {**anybody, "name": "ssh", "protocol": "tcp", "from_port": 22, "to_port": 22}
    others = [{**anybody, "name": name, "protocol": name} for name in ("50", "47", "-1", "icmp")]
    group = {"name": "sg-1", "default": False, "rules": [ssh, *others]}
    wish = Wish(settings(), accepted=frozenset(ASKED))
    found = decided({"security_groups": [group], "all_regions": True}, "aws.network.admin-ports", wish=wish)
    assert [one.on for one in found.enforced.calls] == ["ssh", "-1"]


LAX_UMASK = {"login_defs": {"UMASK": "022"}, "shells": {"umasks": [], "sessions": []}}


def test_only_what_was_asked_for_is_taken() -> None:
    both = {**MAX_TRIES, **LAX_UMASK}
    names = ("lin.ssh.auth-tries", "lin.accounts.umask")
    assert decided(both, *names).enforced.controls == names
    assert decided(both, *names, wish=Wish(settings(), ("lin.acc*",))).enforced.controls == names[1:]


@pytest.mark.parametrize(
    ("umask", "umasks", "written"),
    [
        ("022", [], ["/etc/login.defs", "/etc/profile.d/50-mainstay-umask.sh"]),
        ("027", [], ["/etc/profile.d/50-mainstay-umask.sh"]),
        ("027", [{"file": "/etc/profile", "value": "022"}], []),
        ("027", [{"file": "/etc/pam.d/common-session", "value": "022"}], []),
    ],
    ids=["of neither", "that no session asks for", "that a file of people's relaxes", "that PAM relaxes"],
)
def test_a_umask_is_set_where_sessions_take_it_from(
    umask: str, umasks: list[Any], written: list[str]
) -> None:
    sessions = [{"by": one["file"], "value": one["value"], "sure": True} for one in umasks]
    told = {"login_defs": {"UMASK": umask}, "shells": {"umasks": umasks, "sessions": sessions}}
    found = decided(told, "lin.accounts.umask")
    assert [str(getattr(one.setting, "path", "")) for one in found.enforced.settings] == written
    assert (" says umask 022, which people change" in "".join(one.why for one in found.left_out)) is not bool(
        written
    )


def test_two_controls_that_want_one_thing_otherwise_are_not_both_enforced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    umask = CONTROLS["lin.accounts.umask"]
    assert umask.remedy is not None
    setting = umask.remedy.settings[0]
    assert isinstance(setting, KeyValueSetting)
    other = setting.model_copy(update={"value": "077"})
    remedy = umask.remedy.model_copy(update={"settings": (other,)})
    laxer = umask.model_copy(update={"id": "lin.accounts.umask-too", "remedy": remedy})
    monkeypatch.setitem(CONTROLS, laxer.id, laxer)
    found = decided(LAX_UMASK, umask.id, laxer.id)
    assert found.enforced.controls == (umask.id,)
    assert found.left_out[0].why.startswith("lin.accounts.umask wants /etc/login.defs UMASK otherwise")


def test_a_setting_that_two_controls_want_is_made_once_by_the_greater_risk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    umask = CONTROLS["lin.accounts.umask"]
    assert umask.remedy is not None
    remedy = umask.remedy.model_copy(update={"risk": "R2"})
    risky = umask.model_copy(update={"id": "lin.accounts.umask-too", "remedy": remedy})
    monkeypatch.setitem(CONTROLS, risky.id, risky)
    found = decided(LAX_UMASK, umask.id, risky.id)
    assert [(one.control, one.risk) for one in found.enforced.settings] == [(risky.id, "R2")] * 2


@pytest.mark.parametrize("name", CONTROLS)
def test_every_failure_is_changed_or_left_out_with_a_reason(name: str) -> None:
    control = CONTROLS[name]
    for told in control.fixtures.fails if control.fixtures else ():
        wish = Wish(settings(control.profiles[0]), accepted=frozenset({*ASKED, *COMPUTED}))
        found = decided(told, name, wish=wish)
        assert (found.enforced.controls == (name,)) != (len(found.left_out) == 1)
        assert all(one.why for one in found.left_out)
        if control.remedy is None or control.remedy.risk in ("R3", "R4"):
            assert not found.enforced.controls
