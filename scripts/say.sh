# How the scripts talk: section headers, one-sentence failures, plain results. Sourced by bash scripts.
# shellcheck shell=bash

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
  _bold=$'\e[1m' _red=$'\e[31m' _green=$'\e[32m' _plain=$'\e[0m'
else
  _bold='' _red='' _green='' _plain=''
fi

section() { printf '\n%s== %s%s\n' "$_bold" "$*" "$_plain"; }
good() { printf '%s%s%s\n' "$_green" "$*" "$_plain"; }
bad() { printf '%s%s%s\n' "$_red" "$*" "$_plain"; }
# One sentence to the person at the terminal, then out: 1 for a failure, 2 for wrong usage.
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
wrong_usage() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 2; }
# The comment block under a script's first line is its help.
help_text() { sed -n '2,/^$/{/^#/!q;s/^# \{0,1\}//p}' "$0"; }
