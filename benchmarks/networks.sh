#!/usr/bin/env bash
# Measures whole networks beside PyTorch, ONNX Runtime and OpenVINO; its tables are printed at the end.
#
#     depthwise peers install openvino
#     benchmarks/networks.sh [FOLDER]      # FOLDER keeps results
source "$(dirname "$0")/common.sh"
out=${1:-results/networks}

mkdir -p "$out"
for network in mobilenet_v1 mobilenet_v2 efficientnet_b0 convnext_tiny; do
  for threads in 1 2; do
    same=(--op network --workload "$network" --threads "$threads")
    bench "$network-1-$threads" "${same[@]}" --batch 1 --repeats 20
    bench "$network-16-$threads" "${same[@]}" --batch 16 --repeats 7
  done
done
"$bin/python" benchmarks/network_tables.py "$out"/*.json | tee "$out/tables.md"
