"""What is said of drift: what could not be looked at is named, and not counted as right."""

import pytest

from automation.commands._provision_views import DriftRow, DriftShown, refuse_drift
from automation.commands._render_servers import print_drift
from automation.model.errors import EXIT_PARTIAL, NotMet

SILENT = "nspawn at annex: the management of site annex is silent"
ROW = DriftRow(
    what="server", name="db", provider="nspawn", site="hall", key="power", declared="on", found="off"
)


def test_what_could_not_be_looked_at_is_named_and_is_no_drift(capsys: pytest.CaptureFixture[str]) -> None:
    shown = DriftShown(environment="city", looked_at=1, rows=(), unseen=(SILENT,))
    print_drift(shown)
    told = capsys.readouterr().out.splitlines()
    assert told == ["city: all 1 that could be looked at are as declared", f"not looked at: {SILENT}"]
    assert refuse_drift(shown) == EXIT_PARTIAL


def test_drift_counts_though_not_all_could_be_looked_at() -> None:
    with pytest.raises(NotMet, match="1 of 2 are not as declared"):
        refuse_drift(DriftShown(environment="city", looked_at=2, rows=(ROW,), unseen=(SILENT,)))
    assert refuse_drift(DriftShown(environment="city", looked_at=2, rows=())) == 0
