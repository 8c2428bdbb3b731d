"""What a step found before its first change stands on the disk, and is read again as it was."""

from pathlib import Path

import pytest

from automation.model.errors import AdapterError
from automation.model.kept_calls import keep_calls, read_calls
from automation.model.provider_settings import SavedCall

SAVED = SavedCall(control="vsp.hosts.shells", call="stop_shells", on="esx1", before={"ssh": True}, after={})


def test_what_was_before_is_read_as_it_was_written(tmp_path: Path) -> None:
    keep_calls([SAVED], tmp_path, "vcenter/enforce")
    assert read_calls(tmp_path, "vcenter/enforce") == (SAVED,)
    (file,) = (tmp_path / "calls").iterdir()
    assert file.stat().st_mode & 0o077 == 0


def test_a_step_that_changed_nothing_yet_has_none(tmp_path: Path) -> None:
    assert read_calls(tmp_path, "vcenter/enforce") is None


def test_what_cannot_be_read_stops_and_is_not_taken_for_nothing(tmp_path: Path) -> None:
    keep_calls([SAVED], tmp_path, "enforce")
    (tmp_path / "calls/enforce.json").write_text("[{")
    with pytest.raises(AdapterError, match="cannot be read") as told:
        read_calls(tmp_path, "enforce")
    assert told.value.unknown
