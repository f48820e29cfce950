#!/usr/bin/env bash
# The whole chain on eight books: bash recipes/corpus_small/run.sh BOOKS TOKENIZER [WORK]
# BOOKS: a folder with the files of SHA256SUMS; TOKENIZER: GPT-2's tokenizer.json, or its folder.
# DRY_RUN=1 prints the commands.
set -euo pipefail
if [ $# -lt 2 ]; then
  sed -n '2,4s/^# //p' "$0" >&2
  exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
books=$(cd "$1" && pwd)
tokenizer=$2
work=${3:-work}
do_or_say() {
  echo "\$ $*"
  if [ -z "${DRY_RUN:-}" ]; then "$@"; fi
}
if [ -z "${DRY_RUN:-}" ]; then (cd "$books" && sha256sum --quiet --check "$here/SHA256SUMS"); fi
do_or_say stillage corpus tokenize "$books" "$work/shards" --tokenizer "$tokenizer"
do_or_say stillage corpus index "$work/shards"
do_or_say stillage corpus repeats "$work/shards" --length 50 --tokenizer "$tokenizer" --out "$work/repeats.parquet"
do_or_say stillage corpus targets "$work/shards" --counts 2 4 6 8 --length 100 --tolerance 0 --out "$work/targets.parquet"
do_or_say stillage corpus scan "$work/shards" --targets "$work/targets.parquet" --max-distance 50 --metric both --out "$work/scan"
do_or_say stillage corpus policy "$work/scan" --rule exact ngram:20 ngram:50 jaccard:0.8
do_or_say stillage corpus report "$work/scan"
