"""Network devices: their running configurations, read over their own command line.

What differs from vendor to vendor stands in `vendors.yml`.
"""

from automation.adapters.devices.fetching import fetch
from automation.adapters.devices.proving import prove

__all__ = ["fetch", "prove"]
