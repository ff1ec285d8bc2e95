#!/usr/bin/env bash
# Measures what docs/performance.md holds; its tables are printed at the end.
#
#     benchmarks/performance.sh [FOLDER]      # about 20 minutes; FOLDER keeps results and plots
source "$(dirname "$0")/common.sh"
out=${1:-results/performance}
networks=()
for name in mobilenet_v1 mobilenet_v2 efficientnet_b0 convnext_tiny xception; do
  networks+=(--workload "$name")
done

mkdir -p "$out"
for threads in 1 2; do
  bench "kernel-$threads" "${networks[@]}" --threads "$threads" \
    --peers onednn,onnxruntime,openvino,litert,torch
  for layout in nchw nhwc; do
    bench "call-$layout-$threads" "${networks[@]}" --threads "$threads" --clock call \
      --layout "$layout" --peers torch,onnxruntime,openvino,litert
    bench "corners-$layout-$threads" --workload corners --threads "$threads" --clock call \
      --layout "$layout" --peers torch
  done
done
bench corners-float64 --layers benchmarks/float64.json --clock call --dtype float64 --peers torch
"$bin/python" benchmarks/tables.py "$out"/{kernel,call-nchw,call-nhwc}-[12].json \
  "$out"/corners-*.json | tee "$out/tables.md"
for script in calls one_team starting; do
  "$bin/python" "benchmarks/$script.py" | tee "$out/$script.txt"
done
