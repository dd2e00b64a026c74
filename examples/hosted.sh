#!/usr/bin/env bash
# A hosted service: few, short requests, because each one costs money. The key comes from OPENAI_API_KEY.
# OPENAI_API_KEY=... URL=https://the.service MODEL=its-model examples/hosted.sh
set -euo pipefail
url=${URL:-http://localhost:8000}
model=${MODEL:+--model=$MODEL}
: "${OPENAI_API_KEY:?set OPENAI_API_KEY to your key}"

# --yes: no question before a load on a public address; 20 x (200 + 50) tokens are known to be few.
genbench profile --url "$url" ${model:+"$model"} --request-count 20 --concurrency 2 --warmup 1 \
  --isl 200 --osl 50 --yes "$@"
