#!/usr/bin/env bash
# The bundled retriever: static vectors from nothing, on Korean Wikipedia and then on training questions.
#
#   KOWIKI="kowiki/*.jsonl.xz" DATA=folder bash resources/recipes/retriever.sh OUT
#
# KOWIKI: whole articles, {"id","title","text"} a line (WikiExtractor --json). DATA holds a folder a set: tydiqa, klue and
# boostcamp with passages.jsonl and questions_train.jsonl (boostcamp also questions_train_paraphrased.jsonl); mrtydi and
# miracl with questions_train.jsonl, whose positive_ids are articles of KOWIKI, and mrtydi/questions_dev.jsonl, which is kept
# out. Each step that is done is not done again. About 40 minutes on one core.
set -euo pipefail
out=$1
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
[ -d "$out/pretrained" ] || kofid train-retriever $KOWIKI --pretrain --model static:400 --vocab-size 32000 \
  --batch-size 2048 --max-steps 2000 --symmetric --warmup 0.03 -o "$out/pretrained"

trained="boostcamp/questions_train boostcamp/questions_train_paraphrased tydiqa/questions_train klue/questions_train"
trained="$trained mrtydi/questions_train miracl/questions_train"
files=(); for name in $trained; do files+=("$DATA/$name.jsonl"); done
python "$here/hold_out.py" "$out/questions" "${files[@]}" \
  --measure "$DATA"/{boostcamp,tydiqa,klue}/questions_train.jsonl --only-measure "$DATA/mrtydi/questions_dev.jsonl"

hits=()
[ -d "$out/kowiki" ] || kofid index $KOWIKI -o "$out/kowiki"
for name in $trained; do
  set=${name%%/*}; file=$out/hits-${name/\//-}.json; kb=$out/kb-$set
  case $set in
    mrtydi | miracl) kb=$out/kowiki ;;
    *) [ -d "$kb" ] || kofid index "$DATA/$set/passages.jsonl" -o "$kb" ;;
  esac
  [ -f "$file" ] || kofid retrieve -i "$kb" "$out/questions/kept-${name/\//-}.jsonl" -k 40 --keep-gold --mode sparse \
    --no-correct -o "$file"
  hits+=("$file")
done
kofid train-retriever "${hits[@]}" --model "$out/pretrained" --negatives 7 --batch-size 128 --epochs 4 --lr 0.002 \
  --temperature 0.04 --warmup 0.1 --bits 8 -o "$out/retriever"
