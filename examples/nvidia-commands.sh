#!/usr/bin/env bash
# The commands of NVIDIA's GenAI-Perf introduction with only the tool's name changed (and the file's folder, $data).
# Like the originals they name no server and mean http://localhost:8000, which has to serve the model they name:
# examples/nvidia-commands.sh chat|completions|embeddings
set -euo pipefail
data=$(cd "$(dirname "$0")" && pwd)/data
kind=${1:?chat, completions or embeddings}
shift

case $kind in
  chat)
    genbench profile -m gpt2 --service-kind openai --endpoint-type chat --tokenizer gpt2 "$@"
    ;;
  completions)
    genbench profile -m gpt2 --service-kind openai --endpoint-type completions --tokenizer gpt2 --generate-plots "$@"
    ;;
  embeddings)
    genbench profile -m intfloat/e5-mistral-7b-instruct --batch-size 2 --service-kind openai \
      --endpoint-type embeddings --input-file "$data/embeddings.jsonl" "$@"
    ;;
esac
