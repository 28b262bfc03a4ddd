#!/usr/bin/env bash
# Makes the files of this folder with commit 73bab81: bash make.sh CHECKOUT PYTHON EMPTY_FOLDER
set -euo pipefail
checkout=$1 python=$2 out=$3
export PYTHONPATH=$checkout WANDB_MODE=disabled OMP_NUM_THREADS=1
mkdir -p "$out" && cd "$out"

# No bias comes before a batch norm: without a gradient AdamW would follow the rounding there, and
# other processors would not end at the same figures.
train="$python $checkout/train.py"
resconv="--data garments --size 28 --train-images 64 --val-images 4 --layers 2 --ch 4
    --bn-decoder none --batch-size 16 --images 160 --log-every 3 --precision fp32"
classify="--data garments --size 28 --train-images 40 --val-images 10 --batch-size 10
    --images 80 --log-every 3 --optimizer sgd --lr 0.002 --precision fp32"
$train resconv $resconv --name legacy-resconv
$train classify $classify --deterministic --name legacy-classify

# Killed in training: the first with SIGKILL after step 7, the second with SIGTERM after step 2.
cat >kill.py <<'PYTHON'
import sys
from tests.cut import run_in_child

if __name__ == "__main__":
    command, place, count, *options = sys.argv[1:]
    values = {k[2:].replace("-", "_"): v for k, v in zip(options[::2], options[1::2])}
    if command == "classify":
        values["deterministic"] = "true"
    print(run_in_child(command, values, place, int(count)))
PYTHON
$python kill.py resconv step 7 $resconv --checkpoint-every 32 --name cut-resconv
$python kill.py classify term 2 $classify --name cut-classify
rm kill.py

cat >mini.yaml <<'YAML'
# Question: does a study of 73bab81 go on?
name: mini
method: grid
program: train.py
command: ["${env}", "${interpreter}", "${program}", resconv, "${args}"]
metric: {name: val/l1, goal: minimize}
parameters:
  data: {value: garments}
  size: {value: 28}
  train_images: {value: 512}
  val_images: {value: 4}
  images: {value: 2048}
  batch_size: {value: 16}
  checkpoint_every: {value: 256}
  precision: {value: fp32}
  bn_decoder: {value: none}
  ch: {value: 4}
  layers: {values: [1, 2]}
  ks: {values: [3, 5]}
YAML
# Killed with its workers in the third of four points: two done, one lost with a checkpoint, one
# never begun.
cat >kill.py <<'PYTHON'
import os, signal, subprocess, sys, time
from pathlib import Path

sweep = subprocess.Popen(sys.argv[1:], start_new_session=True)
while len(list(Path("runs").glob("mini-*/checkpoints/previous.pt"))) < 3:
    time.sleep(0.002)
os.killpg(sweep.pid, signal.SIGKILL)
sweep.wait()
PYTHON
$python kill.py $train sweep mini.yaml --jobs 1 --mode disabled
rm kill.py
rm -r studies/*-logs studies/*.lock runs/*/.lock
rm runs/legacy-*/checkpoints/{last,previous}.pt  # best.pt is what a finished run is used by

# The figures of the interrupted runs after the same commit resumed them.
cp -r runs runs-continued && cp -r studies studies-continued
$train resconv --resume runs-continued/cut-resconv-*
$train classify --resume runs-continued/cut-classify-*
$train sweep mini.yaml --mode disabled --study studies-continued/mini.journal \
    --runs-dir runs-continued
$python - <<'PYTHON'
import json
from pathlib import Path

ends = {}
for file in sorted(Path("runs-continued").glob("*/summary.json")):
    summary = json.loads(file.read_text())
    if summary["name"].startswith(("cut-", "mini-ks5")):
        last = summary["last"].items()
        ends[summary["name"]] = {k: v for k, v in last if not k.startswith("perf/")}
Path("ends.json").write_text(json.dumps(ends, indent=1) + "\n")
PYTHON
rm -r runs-continued studies-continued
