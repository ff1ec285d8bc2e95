#!/usr/bin/env bash
# Measures the passes of training beside PyTorch's; its tables are printed at the end.
#
#     benchmarks/training.sh [FOLDER]      # FOLDER keeps results
source "$(dirname "$0")/common.sh"
out=${1:-results/training}

mkdir -p "$out"
for threads in 1 2; do
  same=(--threads "$threads" --peers torch --repeats 7)
  if [ "$threads" = 1 ]; then same+=(--pin 0); fi
  bench "training-kernel-$threads" --op training --workload training --batch 8 "${same[@]}"
  for op in weight_gradient backward; do
    bench "$op-special-$threads" --op "$op" --layers benchmarks/gradients.json --batch 8 \
      "${same[@]}"
  done
  bench "backward-causal-$threads" --op backward --layers benchmarks/causal.json --batch 4 \
    "${same[@]}"
  for layout in nchw nhwc; do
    bench "training-call-$layout-$threads" --op training --workload training --batch 8 \
      --clock call --layout "$layout" "${same[@]}"
  done
done
"$bin/python" benchmarks/tables.py "$out"/*.json | tee "$out/tables.md"
