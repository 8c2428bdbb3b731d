"""Commands of scheduled jobs: on which timers they are, how they go, and whom they tell."""

from invoke import Context

from automation.commands._command import ENV_HELP, JSON_HELP, ROOT, command, print_json, progress
from automation.model.errors import NotMet

YES_HELP = "Do what is shown without asking at the terminal."


@command(
    help={"env": ENV_HELP, "yes": YES_HELP},
    leaves="the timers changed so far; run it again to go on",
)
def install(context: Context, env: str, yes: bool = False) -> None:
    """Put the environment's jobs on timers of this machine; shows the change first, and asks.

    Units are written, timers enabled and started; what you add by `systemctl edit` stays. A second run
    changes nothing. Outside a lab each job needs a standing authorisation, if it changes something.

    Exit codes: 0 done, 2 faulty files, 4 refused (no systemd, not root, not authorised, not agreed to),
    5 done in part, 7 another process changes the timers.
    """
    from automation.adapters.timers import Systemd
    from automation.commands._schedule import ask_yes, carry_out, plan_install, warn
    from automation.commands._session import open_session

    systemd = Systemd()
    with open_session(env) as session:
        change = plan_install(session, systemd)
        warn(session)
        done = carry_out(change, session.environment, session.state, systemd, confirm=ask_yes(yes=yes))
        progress(
            f"{env}: the timers are in place" if done else f"{env}: every timer is in place; nothing changed"
        )


@command(
    help={"env": ENV_HELP, "yes": YES_HELP},
    leaves="the timers that were not removed yet; run it again",
)
def remove(context: Context, env: str, yes: bool = False) -> None:
    """Take the environment's jobs off the timers of this machine; a job that runs goes on.

    Exit codes: 0 done, 2 faulty files, 4 refused (no systemd, not root, not agreed to), 5 done in part,
    7 another process changes the timers.
    """
    from automation.adapters.timers import Systemd
    from automation.commands._schedule import ask_yes, carry_out, plan_remove
    from automation.model.environment import load_environment, state_root

    systemd, environment = Systemd(), load_environment(ROOT, env)
    change = plan_remove(environment, systemd)
    state = state_root() / env
    done = carry_out(change, environment, state, systemd, confirm=ask_yes(yes=yes))
    progress(f"{env}: the timers are removed" if done else f"{env}: there were no timers; nothing changed")


@command(name="list", help={"env": ENV_HELP, "json": JSON_HELP})
def list_(context: Context, env: str, json: bool = False) -> None:
    """Show when each job begins next and how it ended last; changes nothing.

    Exit codes: 0 all is well, 2 faulty files, 4 systemd does not run this machine, 6 a job is missing,
    disabled, silent, not authorised, or failed.
    """
    from automation.adapters.timers import Systemd
    from automation.commands._jobs import look_at_jobs
    from automation.commands._render_schedule import print_schedule
    from automation.commands._session import open_session

    with open_session(env) as session:
        schedule = look_at_jobs(session, Systemd())
    if json:
        print_json(schedule)
    else:
        print_schedule(schedule)
    if schedule.red:
        raise NotMet(
            f"{', '.join(job.job for job in schedule.red)} of {env}: not as it should be",
            hint=f"./inv schedule.install --env {env} mends timers; a notice of the job says what failed",
        )


@command(
    help={"env": ENV_HELP, "job": "The job that ended: backup.rotate."},
    leaves="a message that some of the people got",
)
def notify(context: Context, env: str, job: str) -> int:
    """Tell people how a job of a timer ended, if they do not know; systemd calls it.

    Exit codes: 0 told, or nothing to tell; 2 faulty files, 3 not everyone could be told, 6 nobody could.
    """
    from automation.adapters.timers import Systemd
    from automation.commands._told_jobs import tell_of_job
    from automation.model.environment import load_environment, state_root

    return tell_of_job(load_environment(ROOT, env), state_root() / env, job, Systemd())


@command(name="test-notify", help={"env": ENV_HELP}, leaves="a message that some of the people got")
def test_notify(context: Context, env: str) -> int:
    """Send a test message to everyone whom environment.yml names in notify.

    Exit codes: 0 all took it, 2 faulty files or nobody named, 3 not everyone could be told, 6 nobody could.
    """
    from automation.commands._told_jobs import send_test
    from automation.model.environment import load_environment, state_root

    return send_test(load_environment(ROOT, env), state_root() / env)
