"""People with real SSH keys, and the file that says what they may sign: for tests of approvals."""

import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from automation.engine import approval_files
from automation.engine.approval import sign
from automation.engine.approval_words import fill_in
from automation.engine.signers import REVOKED, Signers, load_signers
from automation.model.approvals import Approval, Request, SignedApproval

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
ROLES = {"coordinator": "dr-coordinator", "dba": "database-owner", "asker": "dr-coordinator", "guest": ""}


class People:
    """A folder of keys and `allowed_signers`, made once; a name is the person's principal."""

    def __init__(self, folder: Path, roles: Mapping[str, str] = ROLES) -> None:
        self.folder = folder
        self.roles = dict(roles)
        self.path = folder / "allowed_signers"
        for name in (*self.roles, "stranger"):
            self.make_key(name)
        self.write()

    def make_key(self, name: str) -> Path:
        key = self.folder / name
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
        return key

    def public(self, name: str) -> str:
        return " ".join((self.folder / f"{name}.pub").read_text().split()[:2])

    def write(self, extra: str = "") -> None:
        lines = [
            f'{name} namespaces="mainstay-*" {self.public(name)}' + (f" roles={roles}" if roles else "")
            for name, roles in self.roles.items()
        ]
        self.path.write_text("\n".join(lines) + "\n" + extra)
        self.path.chmod(0o644)

    def revoke(self, name: str) -> None:
        (self.folder / REVOKED).write_text(self.public(name) + "\n")
        (self.folder / REVOKED).chmod(0o644)

    def signers(self) -> Signers:
        checkout = self.folder / "checkout"
        return load_signers(self.path, checkout=checkout, trusted_uid=os.getuid())

    def words(self, request: Request, role: str, inventory: str, **changes: object) -> Approval:
        """What a person would sign now, valid for an hour, with changes that a test wants."""
        words = fill_in(
            request,
            role=role,
            inventory_digest=inventory,
            signers_digest=self.signers().digest,
            expires_at=NOW + timedelta(hours=1),
            reason="the site has no power" if request.kind == "override" else None,
        )
        return words.model_copy(update=changes)

    def signed(self, name: str, words: Approval) -> SignedApproval:
        return sign(words, self.folder / name)

    def approve(self, run_folder: Path, name: str, words: Approval) -> SignedApproval:
        """Sign and put it where a run finds it."""
        signed = self.signed(name, words)
        approval_files.keep(run_folder, signed)
        return signed
