"""What a frozen rotation says: every reason once, with every copy that it freezes."""

from automation.commands._rotation import DecisionRow, frozen_words


def row(store: str, *frozen: str) -> DecisionRow:
    return DecisionRow(resource="share", store=store, frozen=frozen)


def test_a_reason_names_every_copy_though_one_copy_has_another_reason_before_it() -> None:
    rows = [row("nas", "strange"), row("offsite", "nothing is proven", "strange"), row("vault", "strange")]
    assert frozen_words(rows) == [
        "share: strange (nas, offsite, vault)",
        "share: nothing is proven (offsite)",
    ]
