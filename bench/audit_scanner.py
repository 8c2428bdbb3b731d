"""What an independent scanner costs on the hosts of bench/audit.py: oscap with Debian's own content.

It looks at their root from outside, so no login is counted for it, and from there it cannot see the kernel's
settings. A benchmark asks for the release that it was made for; where there is none for the hosts' release,
the newest is taken without that line, or it would judge nothing, and the result says so.
"""

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from bench.audit_hosts import Hosts

CONTENT = Path("/usr/share/xml/scap/ssg/content")
PROFILE = "xccdf_org.ssgproject.content_profile_standard"
ASKS_RELEASE = re.compile(r'\n\s*<[\w.:-]*platform idref="cpe:/o:debian:debian_linux:\d+"/>')
JUDGED = ("pass", "fail")
# $1 the content, $2 the profile, $3 the hosts' root, $4 how many they are; 2: a rule failed
_SCANS = """
for host in $(seq "$4"); do
  OSCAP_PROBE_ROOT=$3 oscap xccdf eval --profile "$2" "$1" || [ $? -eq 2 ] || exit 1
done
"""


class Scanner(NamedTuple):
    """The scanner that is installed here, and what it judges by."""

    version: str
    content: Path
    made_for: str


def find_scanner() -> Scanner | str:
    """Give the scanner with its newest content for Debian, or say what is missing."""
    if shutil.which("oscap") is None:
        return "oscap: not installed"
    found = {
        int(path.stem.split("debian")[1].split("-")[0]): path for path in CONTENT.glob("ssg-debian*-ds.xml")
    }
    if not found:
        return "oscap: no content for Debian is installed"
    said = subprocess.run(["oscap", "--version"], capture_output=True, text=True, check=True).stdout
    newest = max(found)
    return Scanner(said.splitlines()[0].split()[-1], found[newest], str(newest))


def scan(scanner: Scanner, up: Hosts, folder: Path) -> list[str]:
    """Give the words that scan every host in turn, as `bench.cpu_of` runs them."""
    content = folder / "content.xml"
    text = scanner.content.read_text()
    content.write_text(text if scanner.made_for == release_of(up.root()) else without_release(text))
    return ["sh", "-c", _SCANS, "scans", str(content), PROFILE, str(up.root()), str(len(up.ports))]


def release_of(root: Path) -> str:
    """Give the number of a host's release."""
    found = re.search(r'^VERSION_ID="?(\d+)', (root / "etc/os-release").read_text(), re.MULTILINE)
    return found[1] if found else "unknown"


def without_release(text: str) -> str:
    """Give a benchmark that does not ask for the release it was made for; its rules stay as they are.

    Raises:
        ValueError: it has no such line, or several.
    """
    bare, count = ASKS_RELEASE.subn("", text)
    if count != 1:
        raise ValueError(f"the content asks for a release of Debian {count} times, not once")
    return bare


def results(said: str, hosts: int) -> dict[str, int]:
    """Count the rules of one host by their result.

    Raises:
        ValueError: hosts were left out, or nothing was judged.
    """
    counted = Counter(re.findall(r"^Result\s+(\w+)", said, re.MULTILINE))
    if not any(counted[one] for one in JUDGED) or any(count % hosts for count in counted.values()):
        raise ValueError(f"oscap judged not all of {hosts} hosts: {dict(counted)}")
    return {name: count // hosts for name, count in sorted(counted.items())}
