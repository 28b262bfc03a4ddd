#!/usr/bin/env bash
# The quick tests against the lock and against the oldest versions that requirements.txt allows; a
# run that one began is resumed by the other. By hand and in the Actions file:
#   bash tests/versions.sh FOLDER     (two environments of several GB are made there)
set -euo pipefail
folder=$(realpath "${1:?give a folder for the environments}")
cd "$(dirname "$0")/.."

python3 -m venv "$folder/lock" && "$folder/lock/bin/pip" install -q --require-hashes -r requirements.lock
python3 -m venv "$folder/oldest"
sed -nE 's/^([a-z0-9-]+)>=([0-9.]+)$/\1==\2/p' requirements.txt \
    >"$folder/oldest.txt"
"$folder/oldest/bin/pip" install -q -r requirements.txt -c "$folder/oldest.txt"

for name in lock oldest; do
    TEST_TIME_FACTOR=5 "$folder/$name/bin/python" -m pytest -m quick
done

options=(resconv --data garments --train-images 64 --val-images 20 --size 12 --layers 2 --ch 4
    --images 64000 --batch-size 16 --device cpu --mode offline)
resume() { # begin with one, go on with the other
    local runs="$folder/runs-$1-$2"
    timeout --signal TERM 40 "$folder/$1/bin/python" train.py "${options[@]}" --runs-dir "$runs" || true
    timeout --signal TERM 40 "$folder/$2/bin/python" train.py "${options[@]}" --runs-dir "$runs" \
        --resume auto | tee "$runs.log" || true
    grep -q "Resuming" "$runs.log"
}
resume lock oldest
resume oldest lock
