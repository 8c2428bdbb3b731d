"""Make a share and fill it: `make_share.py FOLDER SENTINEL COUNT`. The same files each time."""

import gzip
import json
import os
import random
import sys
from datetime import date, timedelta
from pathlib import Path

DEPARTMENTS = ("clerk", "permits", "public-works", "parks", "finance", "water", "fire", "library")
WORDS = [
    "council",
    "budget",
    "permit",
    "water",
    "street",
    "repair",
    "meeting",
    "minutes",
    "invoice",
    "contract",
    "parcel",
    "zoning",
    "grant",
]


def text(dice, sentences):
    return (
        "\n".join(" ".join(dice.choices(WORDS, k=dice.randint(6, 16))) + "." for _ in range(sentences)) + "\n"
    )


def letter(dice):
    return ".txt", text(dice, dice.randint(5, 120)).encode()


def table(dice):
    rows = [
        f"{n},{dice.choice(WORDS)},{dice.randint(100, 999999) / 100:.2f}"
        for n in range(dice.randint(20, 900))
    ]
    return ".csv", ("number,what,amount\n" + "\n".join(rows) + "\n").encode()


def record(dice):
    fields = {word: dice.randint(0, 10**6) for word in dice.sample(WORDS, 6)}
    return ".json", (json.dumps(fields, indent=1) + "\n").encode()


def picture(dice):
    return ".jpg", b"\xff\xd8\xff\xe0" + dice.randbytes(dice.randint(2_000, 60_000)) + b"\xff\xd9"


def drawing(dice):
    return ".pdf", b"%PDF-1.7\n" + text(dice, 40).encode() + dice.randbytes(
        dice.randint(500, 20_000)
    ) + b"\n%%EOF\n"


def packed(dice):
    return ".gz", gzip.compress(text(dice, 200).encode(), mtime=0)


KINDS = (letter, letter, table, table, record, picture, drawing, packed)


def main():
    folder, sentinel, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    dice = random.Random(1889)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        place = folder / dice.choice(DEPARTMENTS) / str(2019 + number % 8)
        place.mkdir(parents=True, exist_ok=True)
        ending, content = dice.choice(KINDS)(dice)
        path = place / f"{dice.choice(WORDS)}-{number:04d}{ending}"
        path.write_bytes(content)
        day = date(2019 + number % 8, 1, 1) + timedelta(days=dice.randint(0, 300))
        when = day.toordinal() - date(1970, 1, 1).toordinal()
        os.utime(path, (when * 86400, when * 86400))
    if count:
        odd(folder)
    (folder / sentinel).write_text("This file shows that the share is mounted.\n")


def odd(folder):
    """Names, modes and forms that careless programs stumble over."""
    place = folder / "clerk" / "odd ones"
    place.mkdir(parents=True, exist_ok=True)
    (place / "Über Straße — 2021 (final).txt").write_text("ü\n")
    (place / "empty").touch()
    (place / "new\nline.txt").write_text("a name may hold a line end\n")
    (place / "a minute.lnk").symlink_to("empty")
    (place / "sealed.txt").write_text("for few eyes\n")
    (place / "sealed.txt").chmod(0o600)
    os.link(place / "sealed.txt", place / "sealed twice.txt")


if __name__ == "__main__":
    main()
