"""Standing authorisations: what an unattended job may do, signed once by a person.

A file `<name>.json` with `<name>.json.sig` beside it. Unlike an approval it is not used up: it holds until
it expires, for one command on one resource under one policy, and no further than its limits.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from automation.engine.signers import BadSignature, Checked, Signers, check_signature, sign_text
from automation.model.approvals import AUTHORISATION_NAMESPACE, Asked, Authorisation, SignedApproval
from automation.model.errors import PreflightError


def sign(authorisation: Authorisation, key: Path) -> SignedApproval:
    """Sign with a private key, or by its public half through an agent.

    Raises:
        ConfigError: ssh-keygen could not sign with that key.
    """
    content = authorisation.model_dump_json(indent=1) + "\n"
    return SignedApproval(content=content, signature=sign_text(content, key, AUTHORISATION_NAMESPACE))


def keep(folder: Path, signed: SignedApproval) -> Path:
    """Write an authorisation and its signature; an older one of the same name is replaced."""
    name = Authorisation.model_validate_json(signed.content).name
    path = folder / f"{name}.json"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.with_name(f"{path.name}.sig").write_text(signed.signature)
    path.write_text(signed.content)
    return path


def load(path: Path) -> SignedApproval:
    """Read an authorisation and its signature.

    Raises:
        PreflightError: one of the two files cannot be read.
    """
    try:
        signature = path.with_name(f"{path.name}.sig").read_text(errors="replace")
        return SignedApproval(content=path.read_text(errors="replace"), signature=signature)
    except OSError as exc:
        raise PreflightError(
            f"cannot read authorisation {path.name}: {exc.strerror}; nothing was changed"
        ) from exc


def verify(signed: SignedApproval, asked: Asked, *, allowed_signers: Signers, now: datetime) -> Authorisation:
    """Check that a job may do what it is about to do.

    Args:
        now: aware.

    Raises:
        PreflightError: the signature does not hold, or everything that the job would do beyond it.
    """
    try:
        checked = check_signature(
            signed.content,
            signed.signature,
            signers=allowed_signers,
            namespace=AUTHORISATION_NAMESPACE,
            now=now,
        )
        granted = Authorisation.model_validate_json(signed.content)
    except BadSignature as exc:
        raise PreflightError(f"the authorisation is refused: {exc}; nothing was changed") from exc
    except ValueError as exc:
        raise PreflightError("the authorisation is refused: it has not the form of one") from exc
    wrong = [*_wrong_signer(granted, checked, now), *_wrong_words(granted, asked), *_over(granted, asked)]
    if wrong:
        reasons = ", and ".join(wrong)
        raise PreflightError(f"authorisation {granted.name} is refused: {reasons}; nothing was changed")
    return granted


def _wrong_signer(granted: Authorisation, checked: Checked, now: datetime) -> Iterator[str]:
    if granted.role not in checked.roles:
        yield f"{checked.principal} has not the role {granted.role}"
    if now < granted.not_before:
        yield f"it begins at {granted.not_before:%Y-%m-%d %H:%M %Z}"
    if now >= granted.expires_at:
        yield f"it expired at {granted.expires_at:%Y-%m-%d %H:%M %Z}"


def _wrong_words(granted: Authorisation, asked: Asked) -> Iterator[str]:
    for name in ("environment", "command", "resource"):
        if getattr(granted, name) != getattr(asked, name):
            yield f"it is for {name} {getattr(granted, name)!r}, not {getattr(asked, name)!r}"
    if granted.policy_digest != asked.policy_digest:
        yield "the policy is not the one that was agreed to"


def _over(granted: Authorisation, asked: Asked) -> Iterator[str]:
    """What a job would do more of than agreed; a guard that nobody agreed on allows nothing."""
    for guard, amount in asked.amounts.items():
        if guard not in granted.limits:
            yield f"it sets no limit for {guard}"
        elif not amount <= granted.limits[guard]:
            yield f"{guard} would be {amount:g}, at most {granted.limits[guard]:g} was agreed"
    for guard in granted.limits.keys() - asked.amounts.keys():
        yield f"the job does not say its {guard}, which is limited"
