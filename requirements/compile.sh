#!/usr/bin/env bash
# Refreshes the pinned sets from pyproject.toml. Needs uv. Versions and hashes only: no index address is written.
set -euo pipefail
cd "$(dirname "$0")/.."
common=(--universal --python-version 3.11 --generate-hashes --no-header --quiet "$@")
uv pip compile "${common[@]}" pyproject.toml --group build -o requirements/light.txt
uv pip compile "${common[@]}" pyproject.toml --group build --extra train -c requirements/light.txt -o requirements/train.txt
uv pip compile "${common[@]}" pyproject.toml --group build --group dev --extra train -c requirements/train.txt -o requirements/dev.txt
