"""The commands that prove and restore backups; they stand in backup.py with the others."""

import sys

from invoke import Context

from automation.commands._command import ENV_HELP, JSON_HELP, command, print_json

_RESOURCE_HELP = "A resource of backups.yml."
_STORE_HELP = "A store of backups.yml."
_AUTHORISATION_HELP = "For a job with nobody watching: the standing authorisation it runs under."


@command(
    help={
        "env": ENV_HELP,
        "due": "Prove all that is due by `verify` of backups.yml, and nothing else.",
        "resource": "Only this resource; without --due, whether it is due or not.",
        "store": "Only in this store.",
        "level": "Only at this level: L1 structure, L2 bytes read, L3 restored, L4 opened.",
        "point": "Only this point, by the beginning of its id; needs --resource.",
        "seed": "Draw the random choices of an earlier run again; it names its seed.",
        "authorisation": _AUTHORISATION_HELP,
        "json": JSON_HELP,
    },
    leaves="a run that the next backup.verify finishes; it also removes what was restored to be looked at",
)
def verify(
    context: Context,
    env: str,
    due: bool = False,
    resource: str = "",
    store: str = "",
    level: str = "",
    point: str = "",
    seed: str = "",
    authorisation: str = "",
    json: bool = False,
) -> int:
    """Restore backups to the scratch host, look at them, and remove them again; read repositories.

    A run of it that was cut off is finished first. With nobody at a terminal, and outside a lab, it needs a
    standing authorisation: run.authorise.

    Exit codes: 0 all proven, or nothing due, 2 faulty flags or files, 3 some could not be tried, 4 refused,
    5 a proof came to no end, 6 a proof failed: what was saved there is bad, 7 another run holds the scratch
    host, 130 stopped.
    """
    from automation.commands._render_proofs import print_proved
    from automation.commands._session import open_session
    from automation.commands._verify import VerifyFlags, judge
    from automation.commands._verify import verify as prove

    with open_session(env) as session:
        flags = VerifyFlags(resource, store, level, due, point, seed, authorisation)
        proved = prove(session, flags)
        if json:
            print_json(proved)
        else:
            print_proved(proved)
        sys.stdout.flush()
        return judge(session, proved)


@command(
    help={
        "env": ENV_HELP,
        "resource": _RESOURCE_HELP,
        "at": "The newest point until then: latest, 14:00, yesterday 14:00, 2026-11-21 14:00 (policy zone).",
        "to": "HOST, or HOST:/new/folder for files; never over what is there.",
        "include": "Only these paths, as they were saved, with commas between them.",
        "in_place": "Over the originals, whose state is saved first; people must sign for it.",
        "store": "From this store; without it, from the nearest one that answers.",
        "repository": "A copy from backup.recover-copy (s3:https://...), with the credentials of --store.",
        "yes": "Answer the question with yes; never for --in-place.",
        "json": JSON_HELP,
    },
    leaves="what was restored so far; run.resume goes on",
)
def restore(
    context: Context,
    env: str,
    resource: str,
    at: str,
    to: str = "",
    include: str = "",
    in_place: bool = False,
    store: str = "",
    repository: str = "",
    yes: bool = False,
    json: bool = False,
) -> None:
    """Restore one resource as of a moment to a host, beside what is there; says first what it will do.

    Files and configurations go to a folder, a database to a cluster of its own. --in-place goes over the
    originals, after the signatures that `in_place` of backups.yml asks for.

    Exit codes: 0 restored, 2 faulty flags or files, 4 refused or nobody said yes, 5 stopped part-way,
    6 it is not what was saved, 7 another run holds the host, 8 a person must look, 130 stopped.
    """
    from automation.commands._render_restores import print_restored
    from automation.commands._restore import RestoreFlags, ask_yes, conclude_restore
    from automation.commands._restore import restore as carry_out
    from automation.commands._session import open_session

    flags = RestoreFlags(resource, at, to, include, in_place, store, repository, yes)
    with open_session(env) as session:
        finished = carry_out(session, flags, ask=ask_yes if sys.stdin.isatty() else None)
        restored = conclude_restore(finished)
        if json:
            print_json(restored)
        else:
            print_restored(restored)


@command(
    help={
        "env": ENV_HELP,
        "store": "Only this store; without it, every store with a lock.",
        "authorisation": _AUTHORISATION_HELP,
        "json": JSON_HELP,
    },
    leaves="a small locked object of our own in each store, and locks that were lengthened so far",
)
def canary(context: Context, env: str, store: str = "", authorisation: str = "", json: bool = False) -> None:
    """Try to delete a locked object of our own in every locked store; lengthen the locks of all else.

    To be refused is what is wanted. Then every object that the store shows is locked for as long as if it
    were written now, unless two thirds of that are left: a new point needs what was written long ago. A lock
    only becomes longer. Left out are what a delete marker hides, and points that only their lock still keeps.

    Exit codes: 0 every store refused, 2 faulty flags or files, 4 refused to begin, 5 a store gave no answer
    or let no lock be lengthened, 6 a store let it be deleted, or locks nothing.
    """
    from automation.commands._copies import judge_canaries, try_locks
    from automation.commands._render_restores import print_canaries
    from automation.commands._session import open_session

    with open_session(env) as session:
        canaries = try_locks(session, store, authorisation)
        if json:
            print_json(canaries)
        else:
            print_canaries(canaries)
        sys.stdout.flush()
        judge_canaries(session, canaries)


@command(
    name="recover-copy",
    help={
        "env": ENV_HELP,
        "store": "The store that was attacked; its bucket kept versions.",
        "as_of": "A moment before the attack: 14:00, yesterday 14:00, 2026-11-21 14:00 (the policy's zone).",
        "to": "A new bucket at the same endpoint: https://ENDPOINT/BUCKET.",
        "json": JSON_HELP,
    },
    leaves="the objects copied so far; run.resume goes on",
)
def recover_copy(context: Context, env: str, store: str, as_of: str, to: str, json: bool = False) -> None:
    """Put what a locked bucket held at a moment together in a new one, past every deletion since.

    Nothing is changed in the attacked bucket. Says the command that restores from the new one.

    Exit codes: 0 it is there and opens, 2 faulty flags or files, 4 refused, 5 stopped part-way, 6 it does not
    hold together, 130 stopped.
    """
    from automation.commands._copies import recover_copy as recover
    from automation.commands._render_restores import print_recovered
    from automation.commands._session import open_session

    with open_session(env) as session:
        recovered = recover(session, store, as_of, to)
        if json:
            print_json(recovered)
        else:
            print_recovered(recovered)
