#!/usr/bin/env bash
# The bundled FiDT5 (resources/models/fid-t5-mini): 3.7 M parameters, from nothing, on one or two cores.
#
#   DATA=folder ARTICLES="kowiki-03.jsonl.xz kowiki-04.jsonl.xz kowiki-05.jsonl.xz" bash resources/recipes/reader-t5.sh OUT
#
# Stage 1: cloze questions over one sentence; stage 2: over three short passages; stage 3: the training questions.
# The weights in resources/models are those of stage 1 as yet, saved in 16 bits.
# Interrupted? Run it again: finished stages are kept, the unfinished one goes on.
set -euo pipefail
out=$1
here=$(dirname "$0")
mkdir -p "$out"
run() { [ -e "$out/$1/CURRENT" ] || kofid train-reader "${@:2}" --bf16 --resume --save-steps 250 -o "$out/$1"; }
# shellcheck disable=SC2086
[ -e "$out/c12.jsonl" ] || python "$here/cloze.py" $ARTICLES --passage-words 12 --n-context 1 -n 200000 -o "$out/c12.jsonl"
# shellcheck disable=SC2086
[ -e "$out/c40.jsonl" ] || python "$here/cloze.py" $ARTICLES --passage-words 40 --n-context 3 -n 60000 -o "$out/c40.jsonl"
[ -e "$out/examples" ] || bash "$here/training-data.sh" "$out/examples"
run stage1 "$out/c12.jsonl" --limit 38400 --model fresh:mini --vocab-size 6000 --n-context 1 --max-tokens 64 \
  --batch-size 32 --optimizer adafactor --lr 0.015 --epochs 1
run stage2 "$out/c40.jsonl" --limit 4000 --model "$out/stage1" --n-context 3 --max-tokens 128 --batch-size 16 \
  --optimizer adafactor --lr 0.01 --epochs 1
run fid-t5-mini "$out"/examples/*-questions_train*.jsonl --model "$out/stage2" --n-context 2 --max-tokens 200 \
  --batch-size 16 --optimizer adafactor --lr 0.005 --max-steps 200 --half
