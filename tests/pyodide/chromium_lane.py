"""The Chromium lane: serves web/dist, the tests and a harness under the page's own policy and runs pytest in a worker there.

``python tests/pyodide/chromium_lane.py [pytest arguments]`` after a build; exits with pytest's code.
"""

import json
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "web" / "build"))

import chromium  # noqa: E402
from playwright.sync_api import Error, sync_playwright  # noqa: E402
from serve import serving  # noqa: E402

LIMIT = 50 * 60 * 1000  # ms for the whole lane


def main(arguments: list[str]) -> int:
    lane, here = ROOT / "build" / "lane", Path(__file__).parent
    order = json.dumps({"wheels": sorted(path.name for path in (lane / "wheels").glob("*.whl")), "pytest": arguments})
    with (
        serving(here / "harness", here, lane, ROOT / "web" / "dist", ROOT / "web" / "public") as address,
        tempfile.TemporaryDirectory(prefix="pyruvllm-chromium-") as profile,
        sync_playwright() as playwright,
    ):
        context = playwright.chromium.launch_persistent_context(profile, executable_path=chromium.ensure(), args=list(chromium.FLAGS))
        try:
            page = context.pages[0]
            page.on("console", lambda message: print(message.text, flush=True))
            page.goto(f"{address}lane.html?run={quote(order)}")
            code = page.locator("#code")
            page.locator("#code:not(:empty)").wait_for(state="attached", timeout=LIMIT)
            return int(code.text_content())
        except Error as error:
            print(f"the Chromium lane stopped: {error}", flush=True)
            return 70
        finally:
            context.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
