"""One executor, one journal, one lock for every area."""
