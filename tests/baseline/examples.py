"""Controls, facts and waivers to judge by."""

from datetime import UTC, datetime
from typing import Any

from pydantic import JsonValue

from automation.baseline.controls import Control
from automation.baseline.waivers import Waiver
from automation.model.facts import Facts

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CHECK = {"fact": "sshd.effective.permitrootlogin", "in": "$allowed"}


def facts(sections: dict[str, JsonValue] | None = None, **more: Any) -> Facts:
    return Facts(subject="pg-a", platform="linux", collected_at=NOW, sections=sections or {}, **more)


def control(**more: Any) -> Control:
    told = {
        "id": "lin.ssh.root-login",
        "title": "No direct root login over SSH",
        "why": "A shared login hides who acted, and is the first that is tried.",
        "severity": "high",
        "parameters": {"allowed": {"standard": ["no", "prohibit-password"], "cis-l1": ["no"]}},
        "check": {"effective": CHECK, "persistent": {"fact": "sshd.files.permitrootlogin", "in": "$allowed"}},
        "fixtures": {"pass": [{}], "fail": [{}]},
    }
    return Control.model_validate({**told, **more})


def sshd(effective: str, persistent: str = "no") -> dict[str, JsonValue]:
    return {"sshd": {"effective": {"permitrootlogin": effective}, "files": {"permitrootlogin": persistent}}}


def waiver(**more: Any) -> Waiver:
    told = {
        "id": "root-on-pg-a",
        "control": "lin.ssh.root-login",
        "subjects": ["pg-a"],
        "reason": "the vendor's installer logs in as root",
        "compensated_by": "only from the jump host, and only by key",
        "observed": {"sshd.effective.permitrootlogin": "yes"},
        "requested_by": "database-owner",
        "approved_by": "security-officer",
        "starts": "2026-11-01T00:00:00Z",
        "expires": "2026-12-01T00:00:00Z",
    }
    return Waiver.model_validate({**told, **more})
