"""One kept session at each vCenter of this process: logged in when it is needed, kept alive, logged out.

Calls come from many threads and share it. A session that the vCenter ended is opened again, once a call. What
only reads is repeated while a vCenter that has answered before is away; a change never is, by itself.
"""

import atexit
import hashlib
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from pyVmomi import vim

from automation.adapters.vsphere.errors import FAULTS, Asked, in_words
from automation.adapters.vsphere.stub import AnswerLost, NotReached, Stub
from automation.model.environment import Environment
from automation.model.errors import AdapterError
from automation.model.providers import VsphereProvider
from automation.model.records import Context
from automation.model.secrets import SecretRef
from automation.model.servers import Source
from automation.model.simulators import VcenterSimulator

_Given = TypeVar("_Given")
FIRST_PATIENCE_S = 5.0  # for one that has not answered yet: the site may be lost
PATIENCE_S = 90.0  # for one that has: its proxy throttles for a minute, its service restarts
_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 3.0


class Vcenter:
    """One vCenter by one login; `read` and `change` are the only ways to it."""

    def __init__(
        self,
        environment: Environment,
        provider: VsphereProvider,
        login: Mapping[str, str],
        state: Path,
        *,
        newest: bool = False,
    ) -> None:
        self.environment, self.provider, self.site = environment.name, provider, provider.site
        simulator = _simulator_of(environment, provider)
        self.source: Source = "real" if simulator is None else "simulated"
        at = provider.connect_to or ("" if simulator is None else simulator.address)
        self._stub = Stub(provider.address, provider.port, at=at, trust=_trust(provider, state))
        self._login, self._newest = login, newest
        self.names: dict[str, str] = {}  # of what was read, by its id: for people
        self._instance = vim.ServiceInstance("ServiceInstance", self._stub)
        self._content: Any = None
        self._session = 0  # counts logins, so that threads that lose one together open one
        self._key = ""
        self._opening = threading.RLock()
        self._asleep = threading.Event()
        self._keeper: threading.Thread | None = None
        self._hurried = threading.local()
        self._last_asked = time.monotonic()

    # --- the door --------------------------------------------------------------------------------

    def read(self, ask: Callable[[Any], _Given]) -> _Given:
        """Ask for something by the vCenter's service content; repeated while it is away."""
        started, pause_s = time.monotonic(), _PAUSE_S
        while True:
            try:
                return self._in_session(ask)
            except (AnswerLost, NotReached):
                if time.monotonic() - started > self._patience_s():
                    raise
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def change(self, ask: Callable[[Any], _Given]) -> _Given:
        """Ask for a change, once; repeated only where nothing can have been asked.

        Raises:
            AnswerLost: it may have been done; read before it is repeated.
        """
        self.read(lambda _content: None)  # logged in, so that a login's lost answer is no change's
        started, pause_s = time.monotonic(), _PAUSE_S
        while True:
            try:
                return self._in_session(ask)
            except NotReached:
                if time.monotonic() - started > PATIENCE_S:
                    raise
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _patience_s(self) -> float:
        if getattr(self._hurried, "by", False):
            return 0.0
        return PATIENCE_S if self._session else FIRST_PATIENCE_S

    @contextmanager
    def in_a_hurry(self) -> Iterator[None]:
        """Have this thread not wait for a vCenter that does not answer at once.

        A connection that was opened before its site was lost would only tell after many seconds.
        """
        self._stub.DropConnections()  # type: ignore[no-untyped-call]
        self._hurried.by = True
        try:
            yield
        finally:
            self._hurried.by = False

    @contextmanager
    def telling(self, what: str) -> Iterator["Vcenter"]:
        """Translate what a vCenter refuses; `what` says what could not be done."""
        sent = self._stub.sent
        sent.methods, sent.lost, sent.evidence = [], False, None
        try:
            yield self
        except AdapterError as exc:
            exc.evidence = exc.evidence or sent.evidence
            raise
        except FAULTS as exc:
            asked = Asked(self.provider.address, self.environment, self.user, self.names)
            error = in_words(exc, what, asked, sent=sent.methods, lost=sent.lost)
            error.evidence = sent.evidence
            raise error from exc

    def made(self, evidence: object) -> None:
        """Remember what was made: should the rest of the action fail, its journal names it all the same."""
        self._stub.sent.evidence = evidence

    def in_doubt(self) -> None:
        """Say that it is not known what became of a change."""
        self._stub.sent.lost = True

    def settled(self) -> None:
        """Say that the state was read after an answer was lost: what was done is known again."""
        self._stub.sent.lost = False

    @property
    def changed(self) -> bool:
        """Whether this thread's action has changed anything yet."""
        return bool(self._stub.sent.methods)

    @property
    def round_trips(self) -> int:
        return sum(self._stub.calls.values())

    @property
    def calls(self) -> Mapping[str, int]:
        """How often each method was called."""
        return dict(self._stub.calls)

    @property
    def user(self) -> str:
        """The name of the login, without its secret."""
        return self._login.get("VSPHERE_USER", "")

    @property
    def session_key(self) -> str:
        return self._key

    def object(self, kind: type[_Given], moid: str) -> _Given:
        """Give a managed object by its id."""
        return kind(moid, self._stub)  # type: ignore[call-arg]

    # --- the session -----------------------------------------------------------------------------

    def _in_session(self, ask: Callable[[Any], _Given]) -> _Given:
        self._last_asked = time.monotonic()
        session = self._session or self._open(0)
        try:
            return ask(self._content)
        except vim.fault.NotAuthenticated:
            self._open(session)
        return ask(self._content)

    def _open(self, ended: int) -> int:
        """Log in, unless another thread has since the session that ended."""
        with self._opening:
            if self._session == ended:
                if ended:
                    self._forget_session()
                self._content = self._content or self._instance.RetrieveServiceContent()
                self.names[self._content.rootFolder._moId] = "the root folder"
                if self._newest:
                    self._stub.speak(self._content.about.apiVersion or "")
                opened = self._content.sessionManager.Login(
                    self._login.get("VSPHERE_USER", ""), self._login.get("VSPHERE_PASSWORD", "")
                )
                self._key = opened.key
                self._session += 1
                self._keep_alive()
            return self._session

    def _forget_session(self) -> None:
        """End the session that is said to have ended, should it live on, and go on without its cookie."""
        with suppress(*FAULTS):
            self._content.sessionManager.Logout()
        self._stub.SetSessionId("")  # type: ignore[no-untyped-call]

    def _keep_alive(self) -> None:
        if self._keeper is None:
            self._asleep.clear()
            self._keeper = threading.Thread(target=self._beat, name="vsphere-keep-alive", daemon=True)
            self._keeper.start()

    def _beat(self) -> None:
        """Say something whenever nobody has for a while; who next needs the session opens a lost one."""
        while not self._asleep.wait(self.provider.keep_alive_s):
            if time.monotonic() - self._last_asked >= self.provider.keep_alive_s:
                with suppress(*FAULTS, AttributeError):
                    self._instance.CurrentTime()

    def log_out(self) -> None:
        """End the session, if there is one; a vCenter that is away ends it by itself."""
        with self._opening:
            self._asleep.set()
            self._keeper = None
            if self._session:
                with suppress(*FAULTS):
                    self._content.sessionManager.Logout()
                self._session = 0
            self._stub.DropConnections()  # type: ignore[no-untyped-call]


# --- those that are kept --------------------------------------------------------------------------

_KEPT: dict[tuple[str, str], Vcenter] = {}
_KEEPING = threading.Lock()


@contextmanager
def at(ctx: Context, site: str, what: str) -> Iterator[Vcenter]:
    """Give the vCenter of a site to an action, and translate what it refuses.

    Args:
        what: what could not be done, should it fail: `VM gis-1 could not be made`.
    """
    provider = vsphere_provider(ctx.environment, site)
    with _kept(ctx.environment, provider, ctx.state, ctx.secret).telling(what) as vcenter:
        yield vcenter


@contextmanager
def named(ctx: Context, name: str, what: str) -> Iterator[Vcenter]:
    """Give the vCenter of a provider's name to an action, by a session that speaks its newest words.

    Raises:
        AdapterError: no vCenter is declared by that name.
    """
    provider = ctx.environment.providers.get(name)
    if not isinstance(provider, VsphereProvider):
        raise AdapterError(
            f"{what}: environment.yml names no vCenter {name!r}; nothing was changed",
            hint="providers: names them",
        )
    with _kept(ctx.environment, provider, ctx.state, ctx.secret, newest=True).telling(what) as vcenter:
        yield vcenter


def seen(environment: Environment, site: str, state: Path) -> Vcenter:
    """Give the vCenter of a site to one who reads outside of a run."""
    provider = vsphere_provider(environment, site)
    return _kept(environment, provider, state, lambda ref: _read_secret(ref, state))


def log_out() -> None:
    """End every session of this process."""
    with _KEEPING:
        kept = list(_KEPT.values())
        _KEPT.clear()
    for vcenter in kept:
        vcenter.log_out()


def vsphere_provider(environment: Environment, site: str) -> VsphereProvider:
    """Give the vCenter that is declared for a site."""
    found = environment.provider("vsphere", site)
    if not isinstance(found, VsphereProvider):
        raise AdapterError(f"the provider of {site} is no vCenter; nothing was changed")
    return found


def parse_login(text: str) -> Mapping[str, str]:
    """Read lines NAME=value. Pure."""
    lines = (line.strip() for line in text.splitlines())
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def _kept(
    environment: Environment,
    provider: VsphereProvider,
    state: Path,
    secret: Callable[[SecretRef], str],
    *,
    newest: bool = False,
) -> Vcenter:
    login = secret(provider.login)
    told = f"{state}\n{provider.model_dump_json()}\n{login}\n{newest}"
    said = hashlib.sha256(told.encode()).hexdigest()
    with _KEEPING:
        if not _KEPT:
            atexit.register(log_out)
        key = (environment.name, said)
        if key not in _KEPT:
            _KEPT[key] = Vcenter(environment, provider, parse_login(login), state, newest=newest)
        return _KEPT[key]


def _trust(provider: VsphereProvider, state: Path) -> ssl.SSLContext:
    """Always a context of our own: pyVmomi trusts anyone on localhost without one."""
    path = None if provider.ca is None else state / provider.ca
    try:
        return ssl.create_default_context(cafile=None if path is None else str(path))
    except (OSError, ssl.SSLError) as exc:
        raise AdapterError(
            f"the certificates {path} by which {provider.address} is trusted cannot be read: {exc}; "
            "nothing was changed"
        ) from exc


def _read_secret(ref: SecretRef, state: Path) -> str:
    try:
        return os.environ[ref.env] if ref.env is not None else (state / str(ref.file)).read_text()
    except (KeyError, OSError) as exc:
        named = ref.model_dump(exclude_none=True)
        raise AdapterError(f"secret {named} cannot be read; nothing was changed") from exc


def _simulator_of(environment: Environment, provider: VsphereProvider) -> VcenterSimulator | None:
    known = environment.lab.simulators.values() if environment.lab else ()
    ours = (one for one in known if isinstance(one, VcenterSimulator))
    return next((one for one in ours if provider.address in (one.name, one.address)), None)
