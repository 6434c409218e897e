#!/usr/bin/env bash
# Every section of benchmarks/gpu.py on one CUDA device, each in a process of its own and within its time; then the
# table, and a JSON file with date and device.
#
#     bash benchmarks/gpu.sh [--minutes 8] [--out FILE] [--device cuda|cpu] [--quick]
#
# It sets nothing up: torch >= 2.11, lightning-fabric, numpy, safetensors and huggingface_hub must be there (PYTHON names
# another interpreter than python3). Ends with 0 where every measurement was made and every check held.

set -uo pipefail
python=${PYTHON:-python3}
minutes=8 out=() options=()
while (($#)); do
    case $1 in
        --minutes) minutes=$2 && shift 2 ;;
        --out) out=("$1" "$(realpath -m "$2")") && shift 2 ;;
        --device) options+=("$1" "$2") && shift 2 ;;
        --quick) options+=("$1") && shift ;;
        *) echo "unknown option $1" >&2 && exit 2 ;;
    esac
done

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

"$python" - <<'CHECK' || exit 2
import sys
from importlib.metadata import PackageNotFoundError, version

for name in ("torch", "lightning_fabric", "numpy", "safetensors", "huggingface_hub"):
    try:
        print(name, version(name), end="  ")
    except PackageNotFoundError:
        sys.exit(f"benchmarks/gpu.sh needs {name}, which {sys.executable} does not have")
print()
CHECK

rows=$(mktemp)
trap 'rm -f "$rows"' EXIT
for section in peak:40 unet:110 speed_options:70 correct:60 mlp:60 data:25 growth:40 samplers:40 architectures:60 compiling:150
do
    name=${section%:*} seconds=$((${section#*:} * minutes / 8))
    left=$((60 * minutes - 20 - SECONDS)) # the table takes some too
    ((seconds < left)) || seconds=$left
    problem=
    if ((seconds < 10)); then
        problem='{"skipped": "no time left"}'
    else
        timeout --kill-after=5 "$((seconds + 10))" \
            "$python" benchmarks/gpu.py "$name" --seconds "$((seconds - 8))" --rows "$rows" "${options[@]}"
        code=$?
        ((code)) && problem="{\"error\": \"ended with $code\"}"
    fi
    [[ -z $problem ]] || printf '{"section": "%s", "what": "the section", "numbers": %s}\n' "$name" "$problem" >>"$rows"
done
"$python" benchmarks/gpu.py --table --rows "$rows" "${out[@]}" "${options[@]}"
