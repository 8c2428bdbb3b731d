"""A controller of its own process: plans a city and applies it, or goes on with a run.

applying.py ROOT NAME [RUN]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.contracts.providers import open_city, plan_city

session = open_city(Path(sys.argv[1]), sys.argv[2])
if len(sys.argv) > 3:
    session.resume(sys.argv[3]).raise_for_status()
else:
    session.run(plan_city(session).plan).raise_for_status()
