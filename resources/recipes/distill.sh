#!/usr/bin/env bash
# Two rounds of distillation, and beside them the same retriever trained on gold passages alone, on as many steps.
#
#   DATA=folder QUESTIONS=folder RETRIEVER=model bash resources/recipes/distill.sh OUT
#
# After retriever.sh: DATA is its own, QUESTIONS its OUT/questions (kept to learn from, held to measure on), RETRIEVER its
# OUT/pretrained, which has seen no question. The reader is the bundled FiDT5. Each step that is done is not done again. Two hours
# on one core, nearly all of it the reader's.
set -euo pipefail
out=$1
mkdir -p "$out"
[ -d "$out/kb" ] || kofid index "$DATA"/{tydiqa,boostcamp,klue}/passages.jsonl -o "$out/kb"
cat "$QUESTIONS"/kept-{tydiqa,boostcamp,klue}-questions_train.jsonl "$QUESTIONS"/kept-boostcamp-questions_train_paraphrased.jsonl \
  > "$out/train.jsonl"
cat "$QUESTIONS"/held-{tydiqa,boostcamp}-questions_train.jsonl > "$out/dev.jsonl"
kofid distill "$out/train.jsonl" -i "$out/kb" --reader t5 --retriever "$RETRIEVER" --rounds 2 --n-context 20 --score max \
  --temperature 0.5 --contrast 1 --batch-size 64 --max-steps 120 --lr 0.002 --dev "$out/dev.jsonl" -o "$out/rounds"
[ -d "$out/undistilled" ] || kofid train-retriever "$out/rounds/round-1/passages.jsonl" --model "$RETRIEVER" --negatives 7 \
  --batch-size 64 --max-steps 240 --lr 0.002 --temperature 0.04 --warmup 0.1 -o "$out/undistilled"
[ -d "$out/kb-undistilled" ] || cp -r "$out/kb" "$out/kb-undistilled"
kofid index -o "$out/kb-undistilled" --dense "$out/undistilled"
for mode in dense cross; do
  kofid retrieve -i "$out/kb-undistilled" --eval "$out/dev.jsonl" --mode $mode --no-correct --per-question "$out/$mode.jsonl"
  kofid compare "$out/$mode.jsonl" "$out/rounds/round-2/$mode.jsonl"
done
