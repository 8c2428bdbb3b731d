"""Which runs of a campaign count, when each is killed, and what is said of them all."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from automation.commands import _checked_campaign
from automation.commands._checked import CheckedRow, Once
from automation.commands._checked_campaign import TRIES, Checked, plan_kill, run_checked_campaign
from automation.commands._controller import Kill
from automation.commands._scenarios import Scenario, find_scenario
from automation.model.errors import NotMet
from tests.commands.test_checked import GOOD, LATE

LOSS = find_scenario("site-loss", "city-hall")
COPY = find_scenario("standby-copy", "city-hall")
IN_PROMOTION = Kill(after_step="db/promote", delay_s=0.1, under_way=("db/promote",))
HIT = GOOD.model_copy(update={"kills_wanted": True, "kills": (IN_PROMOTION,)})
MISSED = HIT.model_copy(update={"kills": (LATE,), "faults_found": ("the controller was not killed",)})
WRONG = HIT.model_copy(update={"faults_found": ("was done: twice",), "once": Once(promotions=2)})


class Campaign:
    """A campaign in no lab: what each run shows is given."""

    def __init__(self, folder: Path, rows: list[CheckedRow], monkeypatch: pytest.MonkeyPatch) -> None:
        lab = SimpleNamespace(id="lab", prefix="10.77.0.0/16", wan_rtt_s=0.02)
        environment = SimpleNamespace(name="lab", require_lab=lambda: lab)
        self.session = SimpleNamespace(environment=environment, state=folder)
        self.folder, self.rows, self.renewed = folder, list(rows), list[bool]()
        fresh = SimpleNamespace(renew=lambda *, synchronous: self.renewed.append(synchronous))
        monkeypatch.setattr(_checked_campaign, "FreshLab", lambda session: fresh)
        monkeypatch.setattr(_checked_campaign, "run_under_watch", self._run)

    def _run(self, session: object, scenario: Scenario, folder: Path, **how: object) -> CheckedRow:
        return self.rows.pop(0)

    def __call__(self, *scenarios: Scenario, times: int = 1, kill: bool = True) -> None:
        how = Checked(seed=7, kill=kill, watch_s=60.0)
        run_checked_campaign(self.session, scenarios, times, how, results=self.folder)  # type: ignore[arg-type]

    def kept(self, name: str) -> dict[str, object]:
        content: dict[str, object] = json.loads((self.folder / name).read_text())
        return content


@pytest.fixture
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Campaign:
    return Campaign(tmp_path, request.param, monkeypatch)


@pytest.mark.parametrize("campaign", [[MISSED, HIT, HIT]], indirect=True)
def test_a_run_that_ended_before_its_kill_is_not_counted_and_run_again(campaign: Campaign) -> None:
    campaign(LOSS, times=2)
    kept = campaign.kept("checked-site-loss-kill.json")
    assert (len(kept["drills"]), kept["missed"]) == (2, ["r"])  # type: ignore[arg-type]
    assert "2 of 2 held; 2 kills (2 in a promotion); 0 overlaps" in str(kept["summary"])
    assert "20 s watched after healing" in str(kept["summary"])
    assert campaign.renewed == [False] * 3, "every run begins from fresh disks"


@pytest.mark.parametrize("campaign", [[MISSED] * TRIES], indirect=True)
def test_a_scenario_that_no_kill_ever_hits_does_not_hold(campaign: Campaign) -> None:
    with pytest.raises(NotMet, match="1 of 1 did not hold: r: the controller was not killed"):
        campaign(LOSS)


@pytest.mark.parametrize("campaign", [[WRONG, HIT]], indirect=True)
def test_one_that_does_not_hold_is_kept_and_ends_the_campaign_badly(campaign: Campaign) -> None:
    with pytest.raises(NotMet, match="1 of 2 did not hold: r: was done: twice") as bad:
        campaign(LOSS, times=2)
    assert "./inv run.show --env lab --run r" in str(bad.value.hint)
    assert "1 of 2 held" in str(campaign.kept("checked-site-loss-kill.json")["summary"])


@pytest.mark.parametrize("campaign", [[GOOD, GOOD]], indirect=True)
def test_several_scenarios_are_summed_up_in_a_file_of_their_own(campaign: Campaign) -> None:
    campaign(LOSS, COPY, kill=False)
    kept = campaign.kept("checked.json")
    assert "2 of 2 held; 0 kills" in str(kept["summary"])
    assert [row["scenario"] for row in kept["drills"]] == ["site-loss", "standby-copy"]  # type: ignore[attr-defined]
    assert {path.name for path in campaign.folder.glob("*.json")} == {
        "checked.json",
        "checked-site-loss.json",
        "checked-standby-copy.json",
    }


def test_every_second_kill_is_aimed_at_the_promotion_and_every_one_of_a_copy_at_the_copy() -> None:
    assert [plan_kill(LOSS, number, 0, 1).aim for number in range(1, 5)] == ["", "/promote", "", "/promote"]
    assert plan_kill(COPY, 1, 0, 1).aim == "/clone"
    assert plan_kill(find_scenario("dark-site", "city-hall"), 2, 0, 1).aim == "", "nothing is promoted there"


def test_the_seed_decides_every_kill_and_a_second_try_has_another() -> None:
    def drawn(number: int, again: int, seed: int = 1) -> float:
        return plan_kill(LOSS, number, again, seed).chance.random()

    assert drawn(1, 0) == drawn(1, 0)
    assert len({drawn(1, 0), drawn(2, 0), drawn(1, 1), drawn(1, 0, seed=2)}) == 4
