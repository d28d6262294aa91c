#!/usr/bin/env bash
# The bundled span reader (resources/models/span): words learned from Korean Wikipedia, trees from 3,202 questions.
#
#   DATA=folder ARTICLES="kowiki-00.jsonl.xz kowiki-01.jsonl.xz" bash resources/recipes/reader-span.sh OUT
#
# ARTICLES: whole-article JSONL (id, title, text) of Korean Wikipedia, as WikiExtractor --json writes it.
# DATA: see training-data.sh.
set -euo pipefail
out=$1
here=$(dirname "$0")
bash "$here/training-data.sh" "$out/examples"
# shellcheck disable=SC2086
python "$here/span_words.py" $ARTICLES -o "$out/words"
kofid train-reader --reader span --words "$out/words" "$out"/examples/*-questions_train*.jsonl -o "$out/span"
