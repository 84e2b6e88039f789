"""For every test: what whoever runs them has set for their own broker is not for these."""

from __future__ import annotations

import os

for name in [name for name in os.environ if name.startswith("KGW_")]:
    del os.environ[name]
