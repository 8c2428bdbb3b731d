"""Reading a vCenter: the property collector alone, many objects in one round trip, a page at a time."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from pyVmomi import vim, vmodl

from automation.adapters.vsphere.sessions import Vcenter
from automation.adapters.vsphere.stub import AnswerLost
from automation.model.errors import AdapterError

_Given = TypeVar("_Given")
Paths = Mapping[Any, Sequence[str]]  # kinds of managed objects
PAGE = 1000
_COLLECTOR = vmodl.query.PropertyCollector
_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0


class Seen(NamedTuple):
    """One object, those of its properties that are set, and those that were not given, with the fault."""

    ref: Any
    values: Mapping[str, Any]
    missing: Mapping[str, Any] = MappingProxyType({})

    @property
    def moid(self) -> str:
        return str(self.ref._moId)

    def get(self, path: str, default: Any = None) -> Any:
        return self.values.get(path, default)


def read_objects(vcenter: Vcenter, refs: Sequence[Any], paths: Sequence[str]) -> list[Seen]:
    """Read properties of objects of one kind; those that are gone are left out."""
    left = list(refs)
    while left:
        try:
            return list(_collected(vcenter, [_spec_of(ref) for ref in left], {type(left[0]): paths}))
        except vmodl.fault.ManagedObjectNotFound as exc:
            left = [ref for ref in left if ref._moId != exc.obj._moId]
    return []


def read_one(vcenter: Vcenter, ref: Any, paths: Sequence[str]) -> Seen | None:
    """Read properties of one object; None when it is gone."""
    return next(iter(read_objects(vcenter, [ref], paths)), None)


def sweep(vcenter: Vcenter, root: Any, paths: Paths) -> Iterator[Seen]:
    """Read every object below a datacenter, or below the root, of the kinds that are asked for."""
    spec = _COLLECTOR.ObjectSpec(obj=root, skip=not isinstance(root, tuple(paths)), selectSet=_downwards())
    return _collected(vcenter, [spec], paths)


def _collected(vcenter: Vcenter, objects: Sequence[Any], paths: Paths) -> Iterator[Seen]:
    properties = [_COLLECTOR.PropertySpec(type=kind, pathSet=list(wanted)) for kind, wanted in paths.items()]
    wanted = _COLLECTOR.FilterSpec(objectSet=list(objects), propSet=properties)
    options = _COLLECTOR.RetrieveOptions(maxObjects=PAGE)
    answer = vcenter.read(lambda content: _page(content.propertyCollector, wanted, options))
    while answer is not None:
        for found in answer.objects:
            values = {one.name: one.val for one in found.propSet}
            if "name" in values:
                vcenter.names[found.obj._moId] = values["name"]
            yield Seen(found.obj, values, {one.path: one.fault for one in found.missingSet})
        if not answer.token:
            return
        token = answer.token
        answer = vcenter.read(partial(_next, token=token))


def _page(collector: Any, wanted: Any, options: Any) -> Any:
    answer = collector.RetrievePropertiesEx([wanted], options)
    _refuse_nobody(answer)
    return answer


def _next(content: Any, token: str) -> Any:
    return content.propertyCollector.ContinueRetrievePropertiesEx(token)


def _refuse_nobody(answer: Any) -> None:
    """A vCenter may show an ended session objects without properties, each with the reason."""
    for found in (answer.objects if answer else ())[:1]:
        for missing in found.missingSet:
            if isinstance(missing.fault, vim.fault.NotAuthenticated):
                raise missing.fault


def _spec_of(ref: Any) -> Any:
    return _COLLECTOR.ObjectSpec(obj=ref, skip=False)


def _downwards() -> list[Any]:
    """Ways from a folder or datacenter to all that stands below it."""
    ways = (
        ("children", vim.Folder, "childEntity"),
        ("vms", vim.Datacenter, "vmFolder"),
        ("hosts", vim.Datacenter, "hostFolder"),
        ("stores", vim.Datacenter, "datastoreFolder"),
        ("nets", vim.Datacenter, "networkFolder"),
        ("members", vim.ComputeResource, "host"),
        ("pool", vim.ComputeResource, "resourcePool"),
        ("pools", vim.ResourcePool, "resourcePool"),
    )
    onward = [_COLLECTOR.SelectionSpec(name=name) for name, _, _ in ways]
    return [
        _COLLECTOR.TraversalSpec(name=name, type=kind, path=path, skip=False, selectSet=onward)
        for name, kind, path in ways
    ]


# --- waiting --------------------------------------------------------------------------------------


class _Wish:
    """What one thread waits for: an object, its paths, and what was last read of it."""

    def __init__(self, ref: Any, paths: Sequence[str]) -> None:
        self.ref, self.paths = ref, tuple(paths)
        self.seen: Seen | None = None
        self.polls = 0
        self.failed: BaseException | None = None


class Watch:
    """Polls for everybody who waits at one vCenter: one round trip a poll, however many they are.

    Whoever comes while nobody polls does it for all; the others sleep until it has.
    """

    def __init__(self, vcenter: Vcenter) -> None:
        self._vcenter = vcenter
        self._wishes: set[_Wish] = set()
        self._news = threading.Condition()
        self._polled = False

    def until(
        self,
        ref: Any,
        paths: Sequence[str],
        done: Callable[[Seen], _Given | None],
        *,
        timeout_s: float,
    ) -> _Given | None:
        """Wait until `done` gives something for what is read; None when it does not in time.

        Raises:
            AnswerLost: the object is gone.
        """
        wish, deadline, pause_s = _Wish(ref, paths), time.monotonic() + timeout_s, _PAUSE_S
        with self._news:
            self._wishes.add(wish)
        try:
            while True:
                self._poll(wish, deadline)
                found = None if wish.seen is None else done(wish.seen)
                if found is not None or time.monotonic() > deadline:
                    return found
                time.sleep(min(pause_s, max(0.0, deadline - time.monotonic())))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        finally:
            with self._news:
                self._wishes.discard(wish)

    def _poll(self, mine: _Wish, deadline: float) -> None:
        """Read for all, or wait for the one who does; gives when there is news since the call."""
        with self._news:
            before = mine.polls
            while self._polled and mine.polls == before and time.monotonic() < deadline:
                self._news.wait(_LONGEST_PAUSE_S)
            if mine.polls != before or self._polled:
                return self._raise_failure(mine)
            self._polled = True
            wishes = list(self._wishes)
        try:
            self._read(wishes)
        finally:
            with self._news:
                self._polled = False
                self._news.notify_all()
        return self._raise_failure(mine)

    def _read(self, wishes: Sequence[_Wish]) -> None:
        found, failed = self._found(wishes)
        with self._news:
            for wish in wishes:
                wish.seen, wish.failed = found.get((type(wish.ref), wish.ref._moId)), failed
                if failed is None and wish.seen is None:
                    wish.failed = AnswerLost(f"{wish.ref._moId} is gone")
                wish.polls += 1

    def _found(self, wishes: Sequence[_Wish]) -> tuple[dict[tuple[type, str], Seen], BaseException | None]:
        """Read what everybody waits for; what goes wrong is everybody's."""
        paths: dict[type, list[str]] = {}
        for wish in wishes:
            known = paths.setdefault(type(wish.ref), [])
            known += [path for path in wish.paths if path not in known]
        left = {(type(wish.ref), wish.ref._moId): wish.ref for wish in wishes}
        while left:
            try:
                seen = _collected(self._vcenter, [_spec_of(ref) for ref in left.values()], paths)
                return {(type(one.ref), one.ref._moId): one for one in seen}, None
            except vmodl.fault.ManagedObjectNotFound as exc:
                left.pop((type(exc.obj), exc.obj._moId), None)
            except (OSError, vmodl.MethodFault, vmodl.RuntimeFault, AnswerLost) as exc:
                return {}, exc
        return {}, None

    @staticmethod
    def _raise_failure(wish: _Wish) -> None:
        if wish.failed is not None:
            raise wish.failed


_WATCHES: WeakKeyDictionary[Vcenter, Watch] = WeakKeyDictionary()
_WATCHING = threading.Lock()


def watch(vcenter: Vcenter) -> Watch:
    """Give the one watch of a vCenter."""
    with _WATCHING:
        return _WATCHES.setdefault(vcenter, Watch(vcenter))


def finish(vcenter: Vcenter, task: Any, what: str, *, timeout_s: float) -> Any:
    """Wait for a task; give its result.

    Raises:
        AnswerLost: nobody knows it any more: the vCenter was restarted. Read what became of it.
        AdapterError: it goes on after the time it had.
    """

    def ended(seen: Seen) -> Seen | None:
        return seen if seen.get("info.state") in ("success", "error") else None

    paths = ("info.state", "info.error", "info.result")
    try:
        seen = watch(vcenter).until(task, paths, ended, timeout_s=timeout_s)
    except AnswerLost:
        vcenter.in_doubt()
        raise
    if seen is None:
        raise AdapterError(
            f"{what}: task {task._moId} goes on after {timeout_s:.0f} s; whether it ends well is not known",
            unknown=True,
            hint=f"./inv run.resume --env {vcenter.environment} looks at it first",
        )
    if seen.get("info.state") == "error":
        raise seen.get("info.error") or AdapterError(f"{what}: task {task._moId} failed without a reason")
    return seen.get("info.result")


def now(vcenter: Vcenter) -> datetime:
    """Ask a vCenter for its time."""
    answer: datetime = vcenter.read(
        lambda _content: vcenter.object(vim.ServiceInstance, "ServiceInstance").CurrentTime()
    )
    return answer.astimezone(UTC)
