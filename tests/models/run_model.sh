#!/bin/sh
# Checks one SPIN model: run_model.sh MODEL.pml pass|fail WORK_DIR [DEFINE...]
#
# pass: the whole state space is explored and no assertion, deadlock or property is violated.
# fail: the model, broken by DEFINE, is found broken: by an assertion, a deadlock or a property, not by a
#       model that does not compile or a search that was cut short.
# Exit status 77 (skipped) when spin or a C compiler is missing.
set -u

model=$1 expect=$2 work=$3
shift 3

for tool in spin cc; do
  if ! command -v "$tool" >/dev/null 2>&1; then
    echo "skipped: '$tool' is not installed (Debian package: spin, gcc)"
    exit 77
  fi
done

rm -rf "$work" && mkdir -p "$work" && cd "$work" || exit 1

defines=
for define in "$@"; do defines="$defines -D$define"; done
has_property=false
if grep -q '^ltl ' "$model"; then has_property=true; fi

# shellcheck disable=SC2086 # each define is a word of its own
spin $defines -a "$model" >spin.log 2>&1 || { cat spin.log; exit 1; }

found=
check() { # NAME COMPILE_FLAGS RUN_FLAGS
  # shellcheck disable=SC2086
  cc -O1 -w $2 -o "$1" pan.c >cc.log 2>&1 || { cat cc.log; exit 1; }
  # shellcheck disable=SC2086
  "./$1" -m200000 $3 >"$1.log" 2>&1
  if grep -q 'max search depth too small\|out of memory\|aborted' "$1.log"; then
    echo "$1: the search was cut short"
    cat "$1.log"
    exit 1
  fi
  if grep -q 'errors: 0$' "$1.log"; then
    grep -m1 'states, stored' "$1.log"
  elif grep -q 'assertion violated\|invalid end state\|acceptance cycle\|non-progress cycle' "$1.log"; then
    found=$(grep -m1 'assertion violated\|invalid end state\|acceptance cycle\|non-progress cycle' "$1.log")
    echo "$1: $found"
  else
    echo "$1: no verdict"
    cat "$1.log"
    exit 1
  fi
}

check safety "-DSAFETY -DNOCLAIM" ""
if $has_property && [ -z "$found" ]; then
  check liveness "-DNFAIR=4" "-a -f"
fi

case $expect in
  pass) [ -z "$found" ] || { cat ./*.log; exit 1; } ;;
  fail) [ -n "$found" ] || { echo "broken by '$*', yet the model finds nothing"; exit 1; } ;;
  *) echo "expected pass or fail, not '$expect'"; exit 1 ;;
esac
