"""What a vCenter refuses, in words: what was attempted, why it failed, and whether anything changed. Pure."""

import ssl
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from pyVmomi import vim, vmodl

from automation.adapters.vsphere.stub import AnswerLost, NotReached
from automation.model.errors import AdapterError

_AGAIN = (
    vim.fault.TaskInProgress,
    vim.fault.ConcurrentAccess,
    vim.fault.NotAuthenticated,
    vmodl.fault.ManagedObjectNotFound,
)
EXPIRED, WRONG_NAME, NOT_YET_VALID = 10, 62, 9  # of OpenSSL's X509_V_ERR_*
FAULTS = (ssl.SSLCertVerificationError, AnswerLost, NotReached, vmodl.MethodFault, vmodl.RuntimeFault)


class Asked(NamedTuple):
    """The vCenter that was asked: its address, our environment, our login, and objects by their ids."""

    address: str
    environment: str
    user: str = ""
    names: Mapping[str, str] = MappingProxyType({})


def in_words(
    exc: BaseException,
    what: str,
    at: Asked,
    *,
    sent: Sequence[str],
    lost: bool,
) -> AdapterError:
    """Translate what a call raised.

    Args:
        what: the attempt that failed: `VM gis-1 could not be made`.
        sent: methods that this action called before, and that were done.
        lost: whether an answer to a change is missing.
    """
    changed = _changed(sent, lost)
    return AdapterError(
        f"{what} at {at.address}: {_reason_of(exc, at)}; {changed}",
        transient=isinstance(exc, AnswerLost | NotReached) or _comes_again(exc),
        unknown=lost,
        hint=_hint(exc, at.environment),
    )


def _reason_of(exc: BaseException, at: Asked) -> str:
    """Say why a call failed; of a denied one, by which login, and on what by its name."""
    if not _is_denied(exc):
        return reason(exc)
    moid = str(getattr(getattr(exc, "object", None), "_moId", ""))
    named = f" ({at.names[moid]})" if moid in at.names else ""
    return f"{reason(exc)}{named} to {at.user or 'nobody'}"


def _is_denied(exc: BaseException) -> bool:
    return isinstance(exc, vim.fault.NoPermission) and not isinstance(exc, vim.fault.NotAuthenticated)


def _changed(sent: Sequence[str], lost: bool) -> str:
    if lost:
        return "whether it was done is not known"
    return f"done before it: {', '.join(dict.fromkeys(sent))}" if sent else "nothing was changed"


def reason(exc: BaseException) -> str:
    """Say why a call failed."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return _distrust(exc)
    if isinstance(exc, NotReached):
        return f"it does not answer ({exc})"
    if isinstance(exc, AnswerLost):
        return f"the answer was lost ({exc})"
    if isinstance(exc, vim.fault.InvalidLogin):
        return "it refuses the user or the password"
    if isinstance(exc, vim.fault.NotAuthenticated):
        return "it has ended the session, twice"
    if isinstance(exc, vim.fault.NoPermission):
        return f"it denies the privilege {exc.privilegeId or 'that is needed'} on {_name(exc.object)}"
    return described(exc)


def described(exc: BaseException) -> str:
    """Give a fault of vSphere by its type and the words of the vCenter."""
    words = getattr(exc, "msg", None) or next(
        (said.message for said in getattr(exc, "faultMessage", None) or () if said.message), ""
    )
    kind = type(exc).__name__.rpartition(".")[2]
    named = getattr(exc, "name", None) or getattr(exc, "invalidProperty", None)
    return f"{kind}{f' {named}' if named else ''}{f': {words}' if words else ''}"


def _distrust(exc: ssl.SSLCertVerificationError) -> str:
    if exc.verify_code == EXPIRED:
        return "its certificate has expired"
    if exc.verify_code == NOT_YET_VALID:
        return "its certificate is not valid yet; compare the clocks"
    if exc.verify_code == WRONG_NAME:
        return f"its certificate is for another name ({exc.verify_message})"
    return f"its certificate is not signed by an authority that is trusted here ({exc.verify_message})"


def _comes_again(exc: BaseException) -> bool:
    return isinstance(exc, _AGAIN)


def _hint(exc: BaseException, environment: str) -> str | None:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return "correct providers: address or ca in environment.yml, or renew the certificate"
    if isinstance(exc, vim.fault.InvalidLogin):
        return "correct the secret that providers: login in environment.yml names"
    if _is_denied(exc):
        return f"./inv provision.permissions --env {environment} prints the role that is needed"
    return None


def _name(ref: Any) -> str:
    moid = getattr(ref, "_moId", "")
    return f"{type(ref).__name__.rpartition('.')[2]} {moid}" if moid else "an object it does not name"
