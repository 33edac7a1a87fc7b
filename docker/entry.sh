#!/bin/sh
# Chooses the CPU that kernels were compiled for, before Python starts, and becomes what its arguments say.
#
# Code for a CPU that has more than this one ends the process (SIGILL), so that NUMBA_CPU_NAME can ask for an older
# target, but not for a newer one.
set -eu

has() {
    for flag in "$@"; do
        case "$flags" in *" $flag "*) ;; *) return 1 ;; esac
    done
}

case "$(uname -m)" in
x86_64)
    flags=" $(sed -n 's/^flags[[:space:]]*: //p;T;q' /proc/cpuinfo) "
    level=1
    if has cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3; then
        level=2
        if has avx avx2 bmi1 bmi2 f16c fma abm movbe xsave; then
            level=3
            if has avx512f avx512bw avx512cd avx512dq avx512vl; then level=4; fi
        fi
    fi
    if [ "$level" -lt 2 ]; then
        echo "biglambda: this CPU is older than x86-64-v2, for which the oldest kernels are" >&2
        exit 1
    fi
    wanted=${NUMBA_CPU_NAME:-x86-64-v$level}
    case "$wanted" in
    x86-64-v[234])
        if [ "${wanted#x86-64-v}" -gt "$level" ]; then
            echo "biglambda: NUMBA_CPU_NAME=$wanted, but this CPU has x86-64-v$level: unset it" >&2
            exit 1
        fi ;;
    *)
        echo "biglambda: NUMBA_CPU_NAME=$wanted: there are kernels for x86-64-v2, x86-64-v3 and x86-64-v4" >&2
        exit 1 ;;
    esac ;;
aarch64)
    wanted=neoverse-n1 ;;
*)
    echo "biglambda: there are no kernels for $(uname -m)" >&2
    exit 1 ;;
esac

NUMBA_CPU_FEATURES=
if [ "$wanted" = x86-64-v4 ]; then NUMBA_CPU_FEATURES=-prefer-256-bit; fi
export NUMBA_CPU_NAME="$wanted" NUMBA_CPU_FEATURES
exec "$@"
