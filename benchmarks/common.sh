# For the scripts beside this one: `bench NAME OPTIONS...` keeps in the folder `out` what a run of
# `depthwise bench` finds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=.venv/bin

bench() {
  local name=$1
  shift
  echo "$name: depthwise bench $*" >&2
  "$bin/depthwise" bench "$@" --json "$out/$name.json" --plot "$out/$name" >"$out/$name.txt"
}
