#!/usr/bin/env bash
# An NVIDIA NIM: wait until it is up, then one user, then sixteen. Not yet run against a real NIM.
# URL=http://nim:8000 examples/nim.sh
set -euo pipefail
url=${URL:-http://localhost:8000}

genbench profile --config nim --url "$url" --wait-ready 20m --isl 200 --osl 200 --concurrency 1 "$@"
genbench profile --config nim --url "$url" --isl 200 --osl 200 --concurrency 16 "$@"
