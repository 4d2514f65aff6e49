#!/usr/bin/env bash
# Makes .venv hold the pinned set "$1" (train or dev) and tdscale itself. Does nothing when it does already.
set -euo pipefail
cd "$(dirname "$0")/.."
set_name=$1
stamp=.venv/.installed-$set_name
# dev holds all of train, so its stamp serves both
for present in "$stamp" .venv/.installed-dev; do
  name=${present##*-}
  if [ -f "$present" ] && [ "$(cat "$present")" = "$(cat pyproject.toml "requirements/$name.txt" | sha256sum)" ]; then
    exit 0
  fi
done

python=""
for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
  if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ] && ! command -v uv >/dev/null; then
  echo "tdscale needs Python 3.11 or newer; none was found (nor uv, which could bring one)" >&2
  exit 1
fi

echo "setting up .venv with the pinned set '$set_name'; once, a minute or two …"
if command -v uv >/dev/null; then
  [ -x .venv/bin/python ] || uv venv --quiet --python "${python:-3.12}" .venv
  uv pip install --quiet --python .venv --require-hashes -r "requirements/$set_name.txt"
  uv pip install --quiet --python .venv --no-deps --no-build-isolation -e .
else
  if [ ! -x .venv/bin/pip ] && ! "$python" -m venv .venv; then
    echo "this Python has no working venv module; on Debian: apt-get install python3-venv" >&2
    exit 1
  fi
  # Python compiles what is imported, once; all that lies there would take most of a minute
  .venv/bin/pip install --quiet --no-compile --disable-pip-version-check --require-hashes -r "requirements/$set_name.txt"
  .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
fi
cat pyproject.toml "requirements/$set_name.txt" | sha256sum >"$stamp"
