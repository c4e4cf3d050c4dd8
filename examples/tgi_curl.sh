#!/bin/sh
# TGI's guide to vision-language models, by curl: `inlay serve`, then `examples/tgi_curl.sh [URL]`.
set -eu
url=${1:-http://127.0.0.1:3000}
here=$(dirname "$0")
image="data:image/png;base64,$(base64 < "$here/shapes.png" | tr -d '\n')"

# A picture as markdown in the prompt; the answer token by token.
printf '{"inputs": "![](%s)What is this a picture of?\\n\\n", "parameters": {"max_new_tokens": 16, "seed": 42}}' "$image" |
    curl -sSN "$url/generate_stream" -X POST -d @- -H 'Content-Type: application/json'

# An answer about it that satisfies a JSON schema.
printf '{"inputs": "![](%s)Extract the objects as JSON.\\n\\n", "parameters": {"max_new_tokens": 100, "seed": 42, "grammar": %s}}' \
    "$image" "$(cat "$here/scene-grammar.json")" |
    curl -sS "$url/generate" -X POST -d @- -H 'Content-Type: application/json'
