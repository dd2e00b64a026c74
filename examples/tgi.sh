#!/usr/bin/env bash
# Text Generation Inference: long inputs, short answers. Not yet run against a real TGI.
# URL=http://localhost:8080 examples/tgi.sh
set -euo pipefail
url=${URL:-http://localhost:8080}

genbench profile --config tgi --url "$url" --isl 2000 --osl 64 --concurrency 4 "$@"
