"""Restores, canaries and recovered copies for people."""

from automation.commands._copies import Canaries, Recovered
from automation.commands._render_proofs import short_point
from automation.commands._restore import Restored
from automation.model.base import format_duration, format_size


def print_restored(restored: Restored) -> None:
    """Print what a restore left, how to check it, and how to remove it."""
    if not restored.remove:
        print(f"{restored.said}; run {restored.run}")
        return
    moment = f", recovered to {restored.until:%Y-%m-%d %H:%M:%S} UTC" if restored.until else ""
    files = f", {restored.files} files" if restored.files else ""
    print(
        f"{restored.resource} is restored on {restored.host}: {restored.to} "
        f"(point {short_point(restored.point)} of {restored.store}{moment}{files}, "
        f"{format_size(restored.size_bytes)} in {format_duration(restored.seconds)}); run {restored.run}"
    )
    _print_block(f"to check it, on {restored.host}:", restored.check)
    _print_block("to remove it again:", restored.remove)


def print_canaries(canaries: Canaries) -> None:
    """Print what every locked store did."""
    for one in canaries.refused:
        simulated = " (simulated store)" if one.source == "simulated" else ""
        print(
            f"{one.store}: refused to delete {one.key}, locked until {one.locked_until:%Y-%m-%d %H:%M} UTC"
            f"{simulated}: {one.refused_with}"
        )
    for bad in canaries.failed:
        print(f"{bad.store}: NOT IMMUTABLE: {', '.join(bad.found)}")
    for store in canaries.silent:
        print(f"{store}: gave no answer")
    for done in canaries.lengthened:
        print(f"{done.store}: {done.words}{' (simulated store)' if done.source == 'simulated' else ''}")
    for store, why in canaries.not_lengthened.items():
        print(f"{store}: LOCKS NOT LENGTHENED: {why}")


def print_recovered(recovered: Recovered) -> None:
    """Print what was put together again, and the next command."""
    copy = recovered.copied
    as_of = f"{copy.as_of:%Y-%m-%d %H:%M:%S} UTC"
    print(
        f"{copy.to} has what {copy.store} held at {as_of}: {copy.objects} objects, "
        f"{format_size(copy.size_bytes)}; {copy.undeleted} of them had been deleted or overwritten since; "
        f"run {recovered.run}"
    )
    if recovered.checked is not None:
        print(f"it opens, and its structure holds together: {len(recovered.checked.points)} points")
    _print_block("to restore from it:", recovered.next_acts)


def _print_block(title: str, lines: tuple[str, ...]) -> None:
    if lines:
        print(title)
    for line in lines:
        print(f"  {line}")
