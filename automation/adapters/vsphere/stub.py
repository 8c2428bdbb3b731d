"""The wire to one vCenter: TLS that is always verified, every call counted, none that is not listed.

What was certainly not done (`NotReached`) is told apart from what may have been (`AnswerLost`): reads are
repeated by whoever calls, changes only after the state was read anew.
"""

import gzip
import http.client
import io
import re
import socket
import ssl
import threading
import zlib
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any
from xml.parsers.expat import ExpatError

from pyVmomi import SoapAdapter, VmomiSupport

from automation.adapters.vsphere.permissions import CHANGES, METHODS
from automation.adapters.vsphere.trimming import trim

# The oldest API that this adapter speaks; a newer vCenter answers in its words.
_VERSION = "vim.version.v7_0"
_CALL_TIMEOUT_S = 60.0
_CONNECT_TIMEOUT_S = 10.0
_AT_ONCE = 16
# vCenter's proxy closes an idle connection after some minutes; a closed one must not look like a lost answer.
_IDLE_S = 20.0


class NotReached(Exception):
    """No connection came about: nothing was asked."""


class AnswerLost(Exception):
    """It was asked, and no answer came: whether it was done is not known."""


class Sent(threading.local):
    """What this thread's action has changed, by method, and whether an answer was lost."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self.lost = False
        self.evidence: object = None


class _Answer:
    """One answer, read to its end: as much of an HTTPResponse as pyVmomi asks for."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        content = answer.read()
        if answer.getheader("Content-Encoding", "").lower() == "gzip":
            content = gzip.decompress(content)
        self.status, self.reason = answer.status, answer.reason
        self._headers = answer.headers
        self._content = io.BytesIO(trim(content))

    def getheader(self, name: str, default: str | None = None) -> str | None:
        """Give a header; how it was packed on its way is over."""
        return default if name.lower() == "content-encoding" else self._headers.get(name, default)

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        return self._content.read(size)


class _Connection(http.client.HTTPSConnection):
    """Connects to an address and verifies the certificate for a name."""

    def __init__(self, host: str, port: int, *, at: str, context: ssl.SSLContext, timeout: float) -> None:
        super().__init__(host, port, context=context, timeout=timeout)
        self._at, self._trust = at, context

    def connect(self) -> None:
        plain = socket.create_connection((self._at, self.port), _CONNECT_TIMEOUT_S)
        plain.settimeout(self.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.sock = self._trust.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise

    def getresponse(self) -> Any:
        """Give the answer without what nobody asks about."""
        return _Answer(super().getresponse())


class Stub(SoapAdapter.SoapStubAdapter):
    """Calls methods of a vCenter; properties are read by the property collector alone."""

    def __init__(self, address: str, port: int, *, at: str, trust: ssl.SSLContext) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            host=address,
            port=port,
            path="/sdk",
            version=_VERSION,
            poolSize=_AT_ONCE,
            connectionPoolTimeout=_IDLE_S,
            sslContext=trust,
            httpConnectionTimeout=_CALL_TIMEOUT_S,
        )
        self.scheme: Any = partial(_Connection, at=at or address)
        self.calls: Counter[str] = Counter()
        self.sent = Sent()
        self._counting = threading.Lock()

    def speak(self, api: str) -> None:
        """Speak the newest version that a vCenter of this API and pyVmomi both know; never an older one."""
        self.ComputeVersionInfo(newest_version(api, VmomiSupport.parentMap))  # type: ignore[no-untyped-call]

    def InvokeMethod(self, mo: Any, info: Any, args: Any, outerStub: Any = None) -> Any:  # noqa: N802, N803
        """Call one method, once."""
        method = info.wsdlName
        if method not in METHODS:
            raise LookupError(f"{method} does not stand in adapters/vsphere/permissions.py")
        with self._counting:
            self.calls[method] += 1
        try:
            answer = super().InvokeMethod(mo, info, args, outerStub)  # type: ignore[no-untyped-call]
        except ssl.SSLCertVerificationError:
            raise  # before anything was sent
        except (OSError, EOFError, zlib.error, http.client.HTTPException, ExpatError) as exc:
            if method in CHANGES:
                self.sent.lost = True
            raise AnswerLost(_words(exc)) from exc
        if method in CHANGES:
            self.sent.methods.append(method)
        return answer

    def InvokeAccessor(self, mo: Any, info: Any) -> Any:  # noqa: N802
        """Refuse the reading of one property of one object: that is a round trip each."""
        raise LookupError(f"{type(mo).__name__}.{info.name} must be read by the property collector")

    def GetConnection(self) -> Any:  # noqa: N802
        """Give a connection; a certificate that is not trusted is told as such."""
        try:
            return super().GetConnection()  # type: ignore[no-untyped-call]
        except ssl.SSLCertVerificationError:
            raise
        except (OSError, http.client.HTTPException) as exc:
            raise NotReached(_words(exc)) from exc


def newest_version(api: str, known: Iterable[str]) -> str:
    """Give the newest known version that is not newer than an API: 8.0.3.0 to vim.version.v8_0_3_0. Pure."""
    wanted = numbers(api)
    ours = [one for one in known if re.fullmatch(r"vim\.version\.v\d+(_\d+)+", one)]
    fitting = [one for one in ours if numbers(_VERSION) <= numbers(one) <= wanted]
    return max(fitting, key=numbers, default=_VERSION)


def numbers(version: str) -> tuple[int, ...]:
    """Give the four numbers of a version, to compare it. Pure."""
    found = [int(one) for one in re.findall(r"\d+", version)]
    return (*found, 0, 0, 0, 0)[:4]


def _words(exc: BaseException) -> str:
    return str(exc) or type(exc).__name__
