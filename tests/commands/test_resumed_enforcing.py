"""An enforcement that stopped goes on with what nobody has accepted meanwhile, and with nothing else."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from automation.commands import _resumed_enforcing, _waivers
from automation.commands._session import Session
from automation.model.errors import ConfigError, PreflightError
from tests.commands.enforced_city import City
from tests.commands.test_baseline_enforce import WAIVER, city, controls, enforced, session

__all__ = ("city", "controls", "session")


@pytest.fixture
def stopped(
    city: City, session: Session, controls: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> str:
    """Stop an enforcement after app-b, the first, took its change back; signatures are all well."""
    monkeypatch.setattr(_resumed_enforcing, "load_controls", lambda: controls)
    monkeypatch.setattr(_waivers, "refusals", lambda *_: {})
    city.reverts = {"app-b"}
    _, ended = enforced(session)
    city.reverts = set()
    assert ended.finished.closed.status != "succeeded"
    return ended.result.run


def waive(session: Session, *, host: str = "app-a", accepted: str = "022", until_day: int = 20) -> None:
    today = datetime.now(UTC)
    days = (f"{today + timedelta(days=day):%Y-%m-%dT%H:%M:%SZ}" for day in (-10, until_day))
    text = (WAIVER % tuple(days)).replace("[app-a]", f"[{host}]").replace('"022"', f'"{accepted}"')
    (session.environment.folder / "waivers.yml").write_text(text)


def test_what_is_waived_meanwhile_is_not_changed_by_a_resume(
    city: City, session: Session, stopped: str
) -> None:
    waive(session)
    did = len(city.did)
    with pytest.raises(
        PreflightError, match=r"is waived by now: lin\.accounts\.umask on app-a by umask-of-app-a"
    ) as refused:
        session.resume(stopped)
    assert len(city.did) == did
    assert "baseline.enforce --env lab plans what is left" in str(refused.value.hint)
    (session.environment.folder / "waivers.yml").unlink()
    assert session.resume(stopped).closed.status == "succeeded"


@pytest.mark.parametrize(
    "other",
    [{"accepted": "077"}, {"until_day": -1}, {"host": "app-c"}],
    ids=["of another value", "that is over", "of another host"],
)
def test_a_waiver_that_accepts_nothing_of_it_holds_no_resume_back(
    session: Session, stopped: str, other: dict[str, object]
) -> None:
    waive(session, **other)  # type: ignore[arg-type]
    assert session.resume(stopped).closed.status == "succeeded"


def test_a_waiver_that_nobody_signed_holds_no_resume_back(
    session: Session, stopped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waive(session)
    monkeypatch.setattr(_waivers, "refusals", lambda *_: {"umask-of-app-a": "nobody signed it"})
    assert session.resume(stopped).closed.status == "succeeded"


def test_where_nothing_tells_what_was_found_the_waiver_counts(session: Session, stopped: str) -> None:
    waive(session, accepted="077")
    for facts in (session.state / "runs").glob("*/artifacts/facts/*"):
        facts.unlink()
    with pytest.raises(PreflightError, match="is waived by now"):
        session.resume(stopped)


def test_waivers_that_cannot_be_read_stop_a_resume(city: City, session: Session, stopped: str) -> None:
    (session.environment.folder / "waivers.yml").write_text("waivers: [umask]\n")
    did = len(city.did)
    with pytest.raises(ConfigError, match=re.escape("waivers.yml")):
        session.resume(stopped)
    assert len(city.did) == did


def test_what_was_changed_before_it_was_waived_holds_nothing_back(
    city: City, session: Session, stopped: str
) -> None:
    city.reverts = {"app-a"}
    assert session.resume(stopped).closed.status != "succeeded"
    city.reverts = set()
    waive(session, host="app-b")
    assert session.resume(stopped).closed.status == "succeeded"
