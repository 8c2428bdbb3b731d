"""Two more services of the lab: notices that a city's own playbooks recover, and a switchboard of people."""

import shutil
from pathlib import Path

from tests.lab.checkout import Checkout

FOLDER = Path(__file__).parent
PLAN = "notices"
PAGE = "http://notices.city.lab:8081/"
UNITS = "/usr/local/lib/systemd/system"  # a unit in /etc itself cannot be masked
PRIMARY, RECOVERY = "app-a", "app-b"

_CATALOG = """services:
  notices:
    title: Public notices
    owner: web-team
    tier: 3
    rto: 5 min
    rpo: 1 h
    primary: city-hall
    recovery: eoc
    endpoints:
      web: {name: notices.city.lab, port: 8081}
    probes:
      page: {kind: http, endpoint: web}
    strategy:
      kind: playbooks
      hosts: {city-hall: [app-a], eoc: [app-b]}
      fence: playbooks/notices/fence.yml
      recover: playbooks/notices/recover.yml
      verify: playbooks/notices/verify.yml
  switchboard:
    title: Switchboard
    owner: telephone-desk
    tier: 3
    rto: 1 h
    rpo: 1 h
    primary: city-hall
    recovery: eoc
    depends_on: [notices]
    strategy:
      kind: manual
      checklist:
        - {do: Forward the main number to the EOC, expect: a test call rings there}
      sign_off: clerk
"""
_PLAN = """title: What playbooks and people recover
services: [notices, switchboard]
checks: [drtests/checks/test_names.py]
gates:
  - {before: notices, role: web-team, ask: "Is the page of today ready?"}
limits: {max_hosts: 5, deny: [pg-*]}
"""
_UNIT = """[Unit]
Description=Public notices
[Service]
ExecStart=/usr/bin/python3 -m http.server 8081 --directory /srv/notices
[Install]
WantedBy=multi-user.target
"""


def add(city: Checkout) -> None:
    """Put both into the checkout, and the notices onto their hosts, where the primary one serves."""
    root, environment = city.root, city.root / "inventories" / city.name
    shutil.copytree(FOLDER, root / "playbooks/notices", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (environment / "services").mkdir()
    (environment / "services/own.yml").write_text(_CATALOG)
    (root / f"drtests/plans/{PLAN}.yml").write_text(_PLAN)
    for host in (PRIMARY, RECOVERY):
        city.sh(host, f"mkdir -p /srv/notices {UNITS} && cat >{UNITS}/notices.service <<'END'\n{_UNIT}END\n")
        city.sh(host, "systemctl daemon-reload")
    city.sh(PRIMARY, "echo 'notices of today' >/srv/notices/index.html && systemctl enable --now notices")
    address = city.inventory.server(PRIMARY).address
    for server in ("dns-a", "dns-b"):
        lines = f"server 127.0.0.1\nupdate add notices.city.lab. 5 A {address}\nsend"
        city.sh(server, f"nsupdate -k /etc/bind/update.key <<'END'\n{lines}\nEND")


def remove(city: Checkout) -> None:
    """Take both out of the checkout again; the hosts' disks are put back by whoever goes on."""
    shutil.rmtree(city.root / "playbooks/notices", ignore_errors=True)
    shutil.rmtree(city.root / "inventories" / city.name / "services", ignore_errors=True)
    (city.root / f"drtests/plans/{PLAN}.yml").unlink(missing_ok=True)


def read(city: Checkout) -> str:
    """Read the page as a client does, by its name."""
    ask = f"import urllib.request as u; print(u.urlopen('{PAGE}', timeout=5).read().decode())"
    return city.sh("client-1", f'python3 -c "{ask}"')
