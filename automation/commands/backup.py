"""Commands on backups: take, list, plan, rotate, explain, foretell, look, clear."""

import sys
from pathlib import Path

from invoke import Context

from automation.commands._command import ENV_HELP, JSON_HELP, command, print_json
from automation.commands._proof_commands import canary as canary
from automation.commands._proof_commands import recover_copy as recover_copy
from automation.commands._proof_commands import restore as restore
from automation.commands._proof_commands import verify as verify

RESOURCE_HELP = "A resource of backups.yml, or several with commas; without it all of them."
STORE_HELP = "Only this store of backups.yml."
AUTHORISATION_HELP = "For a job with nobody watching: the standing authorisation it runs under."


@command(
    name="run",
    help={
        "env": ENV_HELP,
        "resource": RESOURCE_HELP,
        "due": "Take only what is due by `take`, and copy what a copy lacks.",
        "full": "Take a full backup of a database, whatever is due.",
        "json": JSON_HELP,
        "authorisation": AUTHORISATION_HELP,
    },
    leaves="jobs that go on where they run; the next backup.run joins and finishes them",
)
def run_(
    context: Context,
    env: str,
    resource: str = "",
    due: bool = False,
    full: bool = False,
    json: bool = False,
    authorisation: str = "",
) -> int:
    """Save resources into their first stores, then copy them to the others; deletes nothing.

    What fails of one resource stops no other. A run that was cut off is finished first.
    Exit codes: 0 done or nothing due, 2 faulty files, 3 done, but of some nobody knows where they are now,
    4 refused, 5 some failed, 7 another run holds a host.
    """
    from automation.commands._render_backups import print_taken
    from automation.commands._session import open_session
    from automation.commands._taking import TakeFlags, back_up, raise_failed

    with open_session(env) as session:
        result, code = back_up(session, TakeFlags(resource, due, full, authorisation))
        if json:
            print_json(result)
        else:
            print_taken(result)
        raise_failed(result, env)
        return code


@command(
    name="list",
    help={"env": ENV_HELP, "resource": RESOURCE_HELP, "store": STORE_HELP, "json": JSON_HELP},
)
def list_(context: Context, env: str, resource: str = "", store: str = "", json: bool = False) -> int:
    """Show every recovery point that the stores hold now, and how far each is proven; changes nothing.

    Exit codes: 0 shown, 2 faulty files, 3 shown, but a store could not be looked at.
    """
    from automation.commands._backup_status import list_points
    from automation.commands._backups import load_area
    from automation.commands._render_backups import print_listing
    from automation.commands._session import open_session

    with open_session(env) as session:
        listing = list_points(session, resource, store)
        if json:
            print_json(listing)
        else:
            print_listing(listing, load_area(session)[0].tz)
        return listing.exit_code


@command(
    name="plan",
    help={
        "env": ENV_HELP,
        "resource": RESOURCE_HELP,
        "store": STORE_HELP,
        "points": "Show every point with its reason, and every guard.",
        "json": JSON_HELP,
    },
)
def plan_(
    context: Context, env: str, resource: str = "", store: str = "", points: bool = False, json: bool = False
) -> int:
    """Show what rotation would keep and delete, why, and what every guard says; changes nothing.

    Exit codes: 0 shown, 2 faulty files, 3 shown, but a store could not be looked at, 6 rotation is frozen:
    something is wrong.
    """
    from automation.commands._render_backups import print_rotation
    from automation.commands._rotation import RotateFlags, decide_now, refuse_frozen
    from automation.commands._session import open_session

    with open_session(env) as session:
        decided = decide_now(session, RotateFlags(resource, store))
        if json:
            print_json(decided.shown)
        else:
            print_rotation(decided.shown, decided.area.backups.tz, points=points)
        return refuse_frozen(session, decided.shown)


@command(
    help={
        "env": ENV_HELP,
        "resource": RESOURCE_HELP,
        "store": STORE_HELP,
        "legal": "Ask the role of `delete_after`, and delete what is older than the law lets you keep.",
        "json": JSON_HELP,
        "authorisation": AUTHORISATION_HELP,
    },
    leaves="some points deleted, each named in the run; the next backup.rotate decides anew",
)
def rotate(
    context: Context,
    env: str,
    resource: str = "",
    store: str = "",
    legal: bool = False,
    json: bool = False,
    authorisation: str = "",
) -> int:
    """Delete expired recovery points that every guard lets go, by their full ids.

    The first run of a new policy only shows its effect and notes that; what expires is marked, and deleted
    after the time of grace. What is frozen stops no other resource.
    Exit codes: 0 done or nothing to do, 2 faulty files, 3 done, but a store could not be looked at,
    4 refused, 5 stopped part-way, 6 rotation of something is frozen: it is told why, 7 another run holds a
    keeper.
    """
    from automation.commands._render_backups import print_rotation
    from automation.commands._rotation import (
        RotateFlags,
        alarm_frozen,
        close_unfinished,
        decide_now,
        refuse_frozen,
        rotate,
    )
    from automation.commands._session import open_session

    flags = RotateFlags(resource, store, legal, authorisation)
    with open_session(env) as session:
        close_unfinished(session)
        decided = decide_now(session, flags)
        if not json:
            print_rotation(decided.shown, decided.area.backups.tz, points=False)
            sys.stdout.flush()
        alarm_frozen(session, decided.shown)
        shown = rotate(session, decided, flags)
        if json:
            print_json(shown)
        return refuse_frozen(session, shown)


@command(
    help={
        "env": ENV_HELP,
        "point": "The point: its id, or the beginning of it.",
        "resource": "Its resource, where ids of several begin so.",
        "json": JSON_HELP,
    }
)
def explain(context: Context, env: str, point: str, resource: str = "", json: bool = False) -> None:
    """Say why a recovery point stays and until when, or why it may go and what holds it; changes nothing.

    Exit codes: 0 said, 2 no such point, or more than one.
    """
    from automation.commands._backups import load_area
    from automation.commands._explaining import Explanation, explain
    from automation.commands._render_backups import print_explained
    from automation.commands._session import open_session

    with open_session(env) as session:
        found = explain(session, point, resource)
        if json:
            print_json(Explanation(stores=found))
        else:
            print_explained(found, load_area(session)[0].tz)


@command(
    help={
        "env": ENV_HELP,
        "resource": "A resource of backups.yml.",
        "store": "Which copy; without it the first.",
        "days": "How far to look: 400.",
        "like": "Put another program's rule beside ours: restic-0.14, restic-0.16, borg-1.4.",
        "keep": "With --like: its rule, as last=3,daily=7,weekly=4; without it our own counts.",
        "json": JSON_HELP,
    }
)
def simulate(
    context: Context,
    env: str,
    resource: str,
    store: str = "",
    days: int = 400,
    like: str = "",
    keep: str = "",
    json: bool = False,
) -> None:
    """Show when each recovery point will go, and how much room all will take; changes nothing.

    Exit codes: 0 shown, 2 faulty files or words, 4 there is no good point to count from.
    """
    from automation.commands._backups import load_area
    from automation.commands._foretelling import foretell
    from automation.commands._render_backups import print_foretold
    from automation.commands._session import open_session

    with open_session(env) as session:
        shown = foretell(session, resource, store=store, days=days, like=like, keep=keep)
        if json:
            print_json(shown)
        else:
            print_foretold(shown, load_area(session)[0].tz)


@command(
    help={
        "env": ENV_HELP,
        "resource": RESOURCE_HELP,
        "metrics": "Also write it, and how the jobs go, for Prometheus: FILE.prom of its textfile collector.",
        "json": JSON_HELP,
    }
)
def status(context: Context, env: str, resource: str = "", metrics: str = "", json: bool = False) -> int:
    """Show how every resource stands: newest good point, proof, copies, locks, next due; changes nothing.

    Red is also what nobody has proven lately, a copy that does not have the newest point, and a database
    whose WAL waits for longer than the RPO to be archived.
    Exit codes: 0 all good, 2 faulty files, 3 good as far as seen, 6 something is red.
    """
    from automation.commands._backup_status import judge, look_at_standing
    from automation.commands._render_backups import print_standing
    from automation.commands._session import open_session

    with open_session(env) as session:
        standing = look_at_standing(session, resource)
        if metrics:
            from automation.commands._metrics import leave_metrics

            leave_metrics(session, standing, Path(metrics))
        if json:
            print_json(standing)
        else:
            print_standing(standing)
        return judge(standing)


@command(
    help={
        "env": ENV_HELP,
        "resource": "A resource whose doubts a person has looked at.",
        "store": "Or a store, with every resource in it and its suspended proofs.",
        "reason": "Why they are none, in a sentence; without it they are only shown.",
        "json": JSON_HELP,
    },
    leaves="nothing, or the whole note",
)
def clear(
    context: Context, env: str, resource: str = "", store: str = "", reason: str = "", json: bool = False
) -> None:
    """Show what stops the rotation of a resource or a store; with a reason, note that you clear it.

    Exit codes: 0 shown or cleared, 2 faulty words, 4 nothing stands against it, or something new was seen.
    """
    from automation.commands._clearing import Doubts, clear, list_doubts
    from automation.commands._session import open_session

    with open_session(env) as session:
        found = list_doubts(session, resource, store)
        for one in found:
            print(one, file=sys.stderr if json else sys.stdout, flush=True)
        if not found and not reason:
            print(f"nothing stands against {resource or store}", file=sys.stderr)
        run = clear(session, found, resource=resource, store=store, reason=reason) if reason else ""
        if json:
            print_json(Doubts(doubts=found, cleared_by_run=run))
        elif run:
            print(f"cleared (run {run}): {reason}")
