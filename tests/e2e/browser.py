"""The browser and the server of tests and measurements: what web/build has, under names that tests import."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "web" / "build"))

from chromium import FLAGS, ensure as chromium  # noqa: E402, I001
from serve import serving  # noqa: E402

DIST = ROOT / "web" / "dist"

__all__ = ["DIST", "FLAGS", "chromium", "serving"]
