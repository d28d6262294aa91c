#!/usr/bin/env bash
# The bundled FiDT5 (resources/models/fid-t5-mini): 4.1 M parameters, from nothing, on one or two cores, some two hours.
#
#   DATA=folder ARTICLES="kowiki-03.jsonl.xz ... kowiki-08.jsonl.xz" bash resources/recipes/reader-t5.sh OUT
#
# Stage 1: 48,000 synthetic questions over sentences of Korean Wikipedia, two passages each; stage 2: the training questions.
# DATA: see training-data.sh. Interrupted? Run it again: finished stages are kept, the unfinished one goes on.
# The weights in resources/models were made by this recipe but for two things: their vocabulary was learned before
# --morphemes gave SentencePiece pieces to begin with (it has fewer whole words), and their training questions included 750 of
# Mr. TyDi and MIRACL with passages of all of Wikipedia (kofid retrieve --keep-gold on an index of it).
set -euo pipefail
out=$1
here=$(dirname "$0")
mkdir -p "$out"
# shellcheck disable=SC2086
[ -e "$out/synthetic.jsonl" ] || python "$here/synthetic.py" $ARTICLES -n 160000 -o "$out/synthetic.jsonl"
[ -e "$out/examples" ] || bash "$here/training-data.sh" "$out/examples"
if [ ! -e "$out/questions/dev.jsonl" ]; then
  sets=("$DATA"/{tydiqa,klue,boostcamp}/questions_train.jsonl)
  python "$here/hold_out.py" "$out/parts" "${sets[@]}" "$DATA/boostcamp/questions_train_paraphrased.jsonl" \
    --measure "${sets[@]}" --only-measure "$DATA/mrtydi/questions_dev.jsonl"
  python "$here/reader_examples.py" "$out/questions" "$out"/examples/*-questions_train*.jsonl \
    --keep "$out"/parts/kept-*.jsonl --synthetic "$out/synthetic.jsonl"
fi
run() { [ -e "$out/$1/CURRENT" ] || kofid train-reader "${@:2}" --bf16 --optimizer adafactor --n-context 2 --resume --save-steps 100 -o "$out/$1"; }
run stage1 "$out/synthetic.jsonl" --limit 72000 --model fresh:mini --match --copying --morphemes --vocab-size 8000 \
  --max-tokens 200 --batch-size 32 --lr 0.012 --max-steps 1500
run fid-t5-mini "$out/questions/train.jsonl" --model "$out/stage1" --max-tokens 320 --batch-size 16 --lr 0.006 --epochs 3 \
  --dev "$out/questions/dev.jsonl" --eval-steps 290 --half
