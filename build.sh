#!/usr/bin/env bash
# The one door to the project: finds a Python that can run the build and hands over to web/build/door.py.
set -euo pipefail
cd "$(dirname "$0")"

for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
  if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    exec "$candidate" -B web/build/door.py "$@"
  fi
done

found=$(python3 --version 2>/dev/null || echo "no python3")
echo "build.sh needs Python 3.11 or newer and found $found." >&2
echo "Install one (Debian: apt-get install python3 python3-venv; macOS: brew install python), or name it: PYTHON=/path/to/python3 ./build.sh ${*:-}" >&2
exit 1
