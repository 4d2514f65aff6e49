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

mkdir -p .venv
log=.venv/setup.log
what="setting up .venv with the pinned set '$set_name'; once, a minute or two"
: >"$log"

# pip's own lines and warnings go into the log; people see one line
quietly() {
  if ! "$@" >>"$log" 2>&1; then
    [ -t 1 ] && echo
    tail -n 15 "$log" >&2
    echo "the set-up failed at: $1 ${2-} ${3-}; all of it is in $log, and the same command tries again" >&2
    exit 1
  fi
}

SECONDS=0
ticker=""
if [ -t 1 ]; then
  while sleep 1; do printf '\r%s … %s s' "$what" "$SECONDS"; done &
  ticker=$!
  trap 'kill $ticker 2>/dev/null || true' EXIT
else
  echo "$what …"
fi

if command -v uv >/dev/null; then
  [ -x .venv/bin/python ] || quietly uv venv --quiet --allow-existing --python "${python:-3.12}" .venv
  quietly uv pip install --quiet --python .venv --require-hashes -r "requirements/$set_name.txt"
  quietly uv pip install --quiet --python .venv --no-deps --no-build-isolation -e .
else
  if [ ! -x .venv/bin/pip ] && ! "$python" -m venv .venv >>"$log" 2>&1; then
    echo "this Python has no working venv module; on Debian: apt-get install python3-venv" >&2
    exit 1
  fi
  # Python compiles what is imported, once; all that lies there would take most of a minute
  quietly .venv/bin/pip install --quiet --no-compile --disable-pip-version-check --require-hashes -r "requirements/$set_name.txt"
  quietly .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
fi
if [ -n "$ticker" ]; then
  kill "$ticker" 2>/dev/null || true
  printf '\r%s: done in %s s\n' "$what" "$SECONDS"
fi
cat pyproject.toml "requirements/$set_name.txt" | sha256sum >"$stamp"
