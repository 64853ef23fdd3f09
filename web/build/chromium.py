"""Finds a Chromium to test with, or installs one."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from steps import Failure, say

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
APPLICATIONS = ("/Applications/Chromium.app/Contents/MacOS/Chromium", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
FLAGS = (
    "--no-sandbox",  # it runs as root in containers, and opens only this project's own pages
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


def find() -> str | None:
    """$CHROMIUM, a browser in PATH or among the applications, or Playwright's own."""
    named = os.environ.get("CHROMIUM")
    if named:
        if shutil.which(named):
            return shutil.which(named)
        raise Failure(f"CHROMIUM is set to {named}, which is no program that can be run.")
    for name in (*NAMES, *APPLICATIONS):
        if path := shutil.which(name):
            return path
    return playwrights()


def playwrights() -> str | None:
    """The browser that Playwright installed, if it did."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def ensure() -> str:
    """As ``find``; installs a browser where there is none. Run by the project's own Python."""
    if path := find():
        return path
    if platform.system() == "Linux" and shutil.which("apt-get") and os.geteuid() == 0:
        say("Chromium: installing Debian's package")
        quiet = {"stdout": subprocess.DEVNULL, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
        subprocess.run(["apt-get", "update", "-qq"], **quiet)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], **quiet)
    else:
        say("Chromium: installing Playwright's")
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"])
    if path := find():
        return path
    raise Failure(
        "No Chromium was found and none could be installed (above: why). "
        "Install Chromium or Chrome, or name one: CHROMIUM=/path/to/chrome ./build.sh test"
    )


if __name__ == "__main__":
    try:
        ensure()
    except Failure as failure:
        sys.exit(str(failure))
