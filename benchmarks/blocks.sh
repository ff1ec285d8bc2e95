#!/usr/bin/env bash
# Measures what docs/performance_blocks.md holds; its tables are printed at the end.
#
#     benchmarks/blocks.sh [FOLDER]      # half an hour; FOLDER keeps results
source "$(dirname "$0")/common.sh"
out=${1:-results/blocks}

mkdir -p "$out"
for op in separable inverted; do
  for threads in 1 2; do
    still=()
    if [ "$threads" = 1 ]; then still=(--pin 0); fi
    bench "$op-kernel-$threads" --op "$op" --workload blocks --threads "$threads" "${still[@]}" \
      --peers onednn,onnxruntime,openvino,litert
    for layout in nhwc nchw; do
      bench "$op-call-$layout-$threads" --op "$op" --workload blocks --threads "$threads" "${still[@]}" \
        --clock call --epilogue network --layout "$layout" \
        --peers torch,onnxruntime,openvino,litert
    done
  done
  for batch in 8 32; do
    bench "$op-batch-$batch" --op "$op" --workload mobilenet_v2 --batch "$batch" --threads 1 --pin 0 \
      --peers onednn,onnxruntime,openvino,litert
  done
done
"$bin/python" benchmarks/tables.py "$out"/*.json | tee "$out/tables.md"
"$bin/python" benchmarks/memory.py | tee "$out/memory.txt"
