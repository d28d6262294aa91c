#!/usr/bin/env bash
# Training examples of the bundled readers: each set's questions with 12 passages found by BM25, gold put in.
#
#   DATA=folder bash resources/recipes/training-data.sh OUT
#
# DATA holds a folder a set, each with passages.jsonl (id, title, text) and questions_train.jsonl (id, question,
# answers, positive_ids): tydiqa (TyDi QA GoldP, Korean), klue (KLUE-MRC, Wikipedia part), boostcamp (contest ODQA,
# with questions_train_paraphrased.jsonl).
set -euo pipefail
out=$1
mkdir -p "$out"
for set in tydiqa klue boostcamp; do
  kofid index "$DATA/$set/passages.jsonl" -o "$out/kb-$set"
  for questions in "$DATA/$set"/questions_train*.jsonl; do
    kofid retrieve -i "$out/kb-$set" "$questions" -k 12 --keep-gold -o "$out/$set-$(basename "$questions")"
  done
done
