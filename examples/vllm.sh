#!/usr/bin/env bash
# A vLLM server under eight users at once, then under four requests per second, held against two promises.
# URL=http://gpu-box:8000 examples/vllm.sh
set -euo pipefail
url=${URL:-http://localhost:8000}

genbench profile --config vllm --url "$url" --isl 512 --osl 128 --concurrency 8 "$@"
genbench profile --config vllm --url "$url" --isl 512 --osl 128 --request-rate 4 \
  --slo "ttft.p95<500ms" --slo "itl.p95<50ms" "$@"
