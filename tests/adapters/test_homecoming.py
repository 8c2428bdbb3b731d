"""What a fenced old primary's data is asked and kept for: nothing of it is missed, nothing is half kept."""

import subprocess
from pathlib import Path

from automation.adapters.postgresql.homecoming import _EXPECT_HELD, _KEEP, _REWIND, split_export

# What a script finds on its host before its own first line; the cluster is held down.
AROUND = """
set -eu
data=$1/main
refuse() { echo "$*" >&2; exit 10; }
login_of() { :; }
expect_identifier() { :; }
expect_primary() { :; }
"""


def run(script: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = ["sh", "-c", AROUND + script.replace(_EXPECT_HELD, ""), "script", str(folder), *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_only_a_line_feed_ends_a_reference() -> None:
    said = "3\nplain\nwith\rreturn\nwith\u2028separator\nreceipt,reference\n1,plain\n"
    count, references, rows = split_export(said)
    assert (count, references) == (3, "plain\nwith\rreturn\nwith\u2028separator\n")
    assert rows == "receipt,reference\n1,plain\n"


def test_nothing_that_only_one_holds_is_an_empty_list() -> None:
    assert split_export("0\n") == (0, "", "")


def test_data_that_lies_elsewhere_is_not_called_kept(tmp_path: Path) -> None:
    """A tablespace or a folder of WAL on another disk: its copy would be a link to what a rewind changes."""
    (tmp_path / "main/pg_tblspc").mkdir(parents=True)
    (tmp_path / "main/pg_tblspc/16400").symlink_to(tmp_path)
    done = run(_KEEP, tmp_path, "kept-r1")
    assert done.returncode == 10
    assert "a copy of the folder would miss it" in done.stderr
    assert not (tmp_path / "main.kept-r1").exists()


def test_data_whose_rewind_was_cut_off_is_neither_kept_as_old_data_nor_rewound_again(tmp_path: Path) -> None:
    (tmp_path / "main").mkdir()
    (tmp_path / "main.kept-r1").mkdir()
    (tmp_path / "main.rewinding").write_text("kept-r1\n")
    kept = run(_KEEP, tmp_path, "kept-r2")
    rewound = run(_REWIND, tmp_path, "10.0.0.1", "replicator", "1", "slot", "kept-r1")
    assert (kept.returncode, rewound.returncode) == (10, 10)
    assert "by basebackup alone" in kept.stderr
    assert "by basebackup alone" in rewound.stderr
    assert not (tmp_path / "main.kept-r2").exists()
