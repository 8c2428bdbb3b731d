"""What a host's own commands say of a control, asked by other ways than our collector's where there are any.

Each answers yes if the host is as profile `cis-l1` wants it. `no` reads lines, and is content with none.
"""

from collections.abc import Mapping
from typing import Any

from tests.lab.checkout import Checkout

WORDS = """
no() { ! grep -q .; }
live() { grep -hv '^ *#' "$@"; }
people() { awk -F: '$3 >= 1000 && $3 < 60000 {print $1}' /etc/passwd; }
sshd_says() { sshd -T -C user=root,host=elsewhere,addr=192.0.2.1 | awk -v word="$1" '$1 == word {print $2}'; }
knock() {
  ssh -vv -F none -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=/dev/null -o BatchMode=yes \\
    -o PreferredAuthentications=none ops@127.0.0.1 2>&1
}
between() { [ "$1" -ge "$2" ] && [ "$1" -le "$3" ]; }
"""
ANSWERS = {
    "lin.accounts.single-root": "[ \"$(getent passwd | awk -F: '$3 == 0 {print $1}')\" = root ]",
    "lin.accounts.no-empty-password": "passwd -S -a | awk '$2 == \"NP\"' | no",
    "lin.accounts.unique-ids": "for f in 1 3; do for n in passwd group; do"
    " cut -d: -f$f /etc/$n | sort | uniq -d; done; done | no",
    "lin.accounts.lockout": "live /etc/pam.d/common-auth | grep -q pam_faillock.so && faillock",
    "lin.accounts.password-quality": "live /etc/pam.d/common-password | grep -q pam_pwquality.so",
    "lin.accounts.password-hash": "getent shadow | cut -d: -f2 | grep '^[$]' | grep -vE '^[$](y|6)[$]' | no"
    " && grep -qE '^ENCRYPT_METHOD[ \t]+(YESCRYPT|SHA512)' /etc/login.defs",
    "lin.accounts.system-accounts": "for u in $(awk -F: '$3 > 0 && $3 < 1000 {print $1}' /etc/passwd); do"
    " passwd -S $u | grep ' P '; grep -x \"$(getent passwd $u | cut -d: -f7)\" /etc/shells; done | no",
    "lin.accounts.umask": "su -l ops -c umask | grep -qE '^0[027]?[27]7$'",
    "lin.accounts.shell-timeout": "between \"$(su -l ops -c 'echo ${TMOUT:-0}')\" 1 1800",
    "lin.accounts.homes": "for u in root $(people); do"
    ' find "$(getent passwd $u | cut -d: -f6)" -maxdepth 0 "(" -perm /27 -o ! -user $u ")"; done | no',
    "lin.accounts.su": "live /etc/pam.d/su | grep -q pam_wheel.so",
    "lin.files.world-writable": "find / -xdev '(' -type f -o -type d ! -perm -1000 ')' -perm -2 | no",
    "lin.files.unowned": "find / -xdev '(' -nouser -o -nogroup ')' | no",
    "lin.files.suid": "for f in $(find / -xdev -type f -perm /6000); do"
    ' dpkg -S "*/${f##*/}" >/dev/null 2>&1 || echo $f; done | no',
    "lin.files.account-files": "{ find /etc/passwd* /etc/group* -maxdepth 0 -perm /133 -o ! -user root;"
    " find /etc/shadow* /etc/gshadow* -maxdepth 0 -perm /137 -o ! -user root; } | no",
    "lin.logs.journal-kept": "logger asked-$$; journalctl --sync; grep -qs asked-$$ /var/log/journal/*/*",
    "lin.logs.forwarded": "systemctl is-active rsyslog systemd-journal-upload",
    "lin.logs.file-integrity": "systemctl list-timers --all | grep -qE 'aide|debsums'",
    "lin.network.listeners": "ss -Htlnp | grep -vE '(127[.][0-9.]*|::1.):' | grep -vE '\"(sshd|systemd|named"
    "|postgres|nginx|apache2|chronyd|python3|bgpd|zebra|staticd|pgbackrest|smbd|rpcbind)\"' | no",
    "lin.network.default-deny": "nft list chains | grep 'hook input' | grep -q 'policy drop'"
    " && systemctl is-enabled nftables",
    "lin.network.one-firewall": "systemctl list-unit-files --state=enabled"
    " | grep -cE '^(nftables|ufw|firewalld|netfilter-persistent)[.]service' | grep -q '^[01]$'",
    "lin.software.legacy-services": "dpkg -l | awk '$1 == \"ii\" {print $2}'"
    " | grep -E '^(.*telnetd.*|rsh-.*server|nis|tftpd.*|talkd|xinetd|v?s?ftpd|snmpd)$' | no",
    "lin.software.mail-local": "ss -Htln 'sport = :25' | grep -vE '127[.]|::1' | no",
    "lin.software.failed-units": "systemctl --failed --no-legend | no",
    "lin.ssh.root-login": "sshd_says permitrootlogin | grep -qx no",
    "lin.ssh.password-login": "knock | grep -q 'Permission denied (publickey)'",
    "lin.ssh.empty-passwords": "sshd_says permitemptypasswords | grep -qx no",
    "lin.ssh.algorithms": "knock | sed '1,/peer server KEXINIT/d' | grep -E '(KEX|ciphers|MACs)'"
    " | grep -E 'sha1|md5|umac-64@|umac-64-|cbc' | no",
    "lin.ssh.auth-tries": 'between "$(sshd_says maxauthtries)" 1 4',
    "lin.ssh.grace-time": 'between "$(sshd_says logingracetime)" 1 60',
    "lin.ssh.idle": 'between "$(sshd_says clientaliveinterval)" 1 900'
    ' && between "$(sshd_says clientalivecountmax)" 1 6',
    "lin.ssh.allow-groups": "sshd_says allowgroups | grep . || sshd_says allowusers | grep .",
    "lin.ssh.forwarding": '[ "$(sshd_says x11forwarding) $(sshd_says allowagentforwarding)" = "no no" ]',
    "lin.ssh.file-modes": "{ find /etc/ssh '(' -type f -o -type d ')' '(' ! -user root -o -perm /22 ')';"
    " find /etc/ssh -name '*_key' -perm /77; } | no",
    "lin.ssh.banner": "knock | grep -q 'Authorised use only'",
    "lin.ssh.authorized-keys": "for u in root $(people); do"
    ' k="$(getent passwd $u | cut -d: -f6)/.ssh/authorized_keys"; [ -e $k ] || continue;'
    " [ $(grep -c . $k) = $(ssh-keygen -lf $k | grep -cE '[(](ED25519|RSA|ECDSA)[)]$') ] || echo $u;"
    " done | no",
    "lin.sudo.valid": "visudo -c",
    "lin.sudo.use-pty": "sudo -l -U ops | grep -q use_pty",
    "lin.sudo.log": "sudo -n true && tail -n1 /var/log/sudo.log | grep -q COMMAND=/usr/bin/true",
    "lin.sudo.without-password": "for u in $(cut -d: -f1 /etc/passwd); do"
    " sudo -l -U $u | grep -q NOPASSWD && echo $u; done | grep -vx ops | no",
}


def answers(city: Checkout, host: str) -> dict[str, bool]:
    """Ask all of it on a host."""
    asked = "".join(
        f"( {script}\n) >/dev/null 2>&1 </dev/null && echo {control} || echo not\n"
        for control, script in ANSWERS.items()
    )
    said = city.sh(host, WORDS + asked).splitlines()
    return {control: one == control for control, one in zip(ANSWERS, said, strict=True)}


def judged(verdicts: Mapping[str, Mapping[str, Any]]) -> dict[str, bool]:
    """Give the same of our verdicts, those apart that say nothing."""
    states = {control: verdicts[control]["state"] for control in ANSWERS}
    return {name: state == "pass" for name, state in states.items() if state in ("pass", "fail")}
