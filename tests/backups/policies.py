"""A small city's `backups.yml` that a test changes in one respect."""

from typing import Any

from automation.backups.spec import Backups

STORES: dict[str, Any] = {
    "nas": {
        "type": "restic",
        "repository": "sftp:b@nas:/main",
        "keeper": {"host": "bk-a", "repository": "/main"},
        "site": "hall",
    },
    "far": {
        "type": "restic",
        "repository": "sftp:b@far:/main",
        "keeper": {"host": "bk-b", "repository": "/main"},
        "site": "eoc",
        "copy_of": "nas",
    },
    "vault": {
        "type": "restic",
        "repository": "s3:https://s3.city.lab/b",
        "keeper": {"host": "bk-a"},
        "site": "cloud",
        "medium": "object-store",
        "lock": {"mode": "compliance", "for": "35 days"},
        "copy_of": "nas",
    },
    "pg": {"type": "pgbackrest", "stanza": "pay", "repo": 1, "keeper": {"host": "bk-a"}, "site": "hall"},
    "pg-far": {"type": "pgbackrest", "stanza": "pay", "repo": 2, "keeper": {"host": "bk-b"}, "site": "eoc"},
    "pg-vault": {
        "type": "pgbackrest",
        "stanza": "pay",
        "repo": 3,
        "keeper": {"host": "bk-b"},
        "site": "cloud",
        "medium": "object-store",
        "bucket": "https://s3.city.lab/pg",
        "lock": {"mode": "compliance", "for": "35 days"},
    },
}
SHARE: dict[str, Any] = {
    "source": {
        "kind": "files",
        "host": "files-a",
        "paths": ["/srv/share"],
        "must_exist": ["/srv/share/.here"],
    },
    "rpo": "4 h",
    "take": {"every": "4 hours"},
    "to": ["nas", "far", "vault"],
    "keep": {"profile": "standard"},
    "verify": [{"level": "L3", "every": "1 week"}],
}
DATABASE: dict[str, Any] = {
    "source": {"kind": "postgresql", "host": "pg-a", "cluster": "15/main"},
    "rpo": "5 min",
    "take": {"full": "sun 01:00", "wal": "continuous"},
    "to": ["pg", "pg-far", "pg-vault"],
    "keep": {"profile": "standard"},
    "verify": [
        {
            "level": "L4",
            "every": "1 week",
            "pick": [{"point": "latest", "moment": "random"}],
            "assert": [
                {"sql": "select count(*) from payments", "share_of_source": "99%"},
                {"amcheck": "all"},
            ],
        }
    ],
}
DUMP: dict[str, Any] = SHARE | {
    "source": {"kind": "postgresql-dump", "host": "pg-a", "cluster": "15/main", "database": "payments"},
    "verify": [{"level": "L4", "every": "1 day", "assert": [{"sql": "select 1", "minimum": 1}]}],
}
ROUTERS: dict[str, Any] = SHARE | {
    "source": {"kind": "device-config", "devices": ["rtr-a", "rtr-b"], "vendor": "frr"},
    "verify": [{"level": "L4", "every": "1 day", "assert": [{"parse": "vendor"}]}],
}


def make_backups(**resources: dict[str, Any]) -> Backups:
    """A policy with these resources; their names get dashes for underscores."""
    named = {name.replace("_", "-"): words for name, words in resources.items()}
    return Backups.model_validate(
        {
            "version": 1,
            "tz": "America/New_York",
            "stores": STORES,
            "retention": {"standard": {"last": 3, "daily": 7}},
            "resources": named or {"share": SHARE},
            "scratch": "bk-b",
        }
    )
