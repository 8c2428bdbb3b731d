"""The scanner beside the audit: it judges something, on every host, or there is no figure."""

import pytest

from bench.audit_scanner import results, without_release

CONTENT = """\
<xccdf:Benchmark>
  <xccdf:platform idref="cpe:/o:debian:debian_linux:11"/>
  <xccdf:Rule><xccdf:platform idref="#machine"/></xccdf:Rule>
</xccdf:Benchmark>
"""


def test_a_benchmark_made_for_another_release_keeps_its_rules() -> None:
    assert without_release(CONTENT) == CONTENT.replace(
        '\n  <xccdf:platform idref="cpe:/o:debian:debian_linux:11"/>', ""
    )


def test_a_benchmark_that_does_not_say_for_which_release_it_is_is_not_changed_by_guess() -> None:
    with pytest.raises(ValueError, match="0 times"):
        without_release(without_release(CONTENT))


@pytest.mark.parametrize(
    "said",
    ["", "Result\tnotapplicable\n" * 4, "Result\tpass\n" * 3],
    ids=["nothing", "nothing that applies", "one host left out"],
)
def test_a_scan_that_did_not_judge_every_host_is_no_figure(said: str) -> None:
    with pytest.raises(ValueError, match="judged not all of 2 hosts"):
        results(said, 2)


def test_rules_are_counted_for_one_host() -> None:
    said = "Title\tPassword\nResult\tpass\n\nResult\tfail\n" * 2
    assert results(said, 2) == {"fail": 1, "pass": 1}
