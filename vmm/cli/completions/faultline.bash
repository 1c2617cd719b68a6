# Bash completion for faultline. Source it, or install it as
# /usr/share/bash-completion/completions/faultline.

_faultline_vms() {
  faultline list 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_faultline_devices() {
  faultline memory list "$1" 2>/dev/null | awk 'NR > 1 && $2 != "-" { print $1 }'
}

_faultline() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
  local command=${COMP_WORDS[1]} first=2 options="" words=""
  COMPREPLY=()

  if [[ $COMP_CWORD -eq 1 ]]; then
    words="run list info top memory pause resume shutdown kill save restore xml events storm version --help --version"
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    return
  fi
  if [[ $command == memory ]]; then
    if [[ $COMP_CWORD -eq 2 ]]; then
      mapfile -t COMPREPLY < <(compgen -W "plug unplug resize balloon trim auto list operations cancel --help" -- "$cur")
      return
    fi
    command="memory ${COMP_WORDS[2]}"
    first=3
  fi

  case $prev in
    --console) words="stdio pty socket: none" ;;
    --irqchip) words="split kernel" ;;
    --balloon) words="on size= deflate-on-oom= reporting=" ;;
    --device) words="debug-exit" ;;
    --on-reboot) words="restart exit" ;;
    --set) words="on off dry-run" ;;
    --net) words="user tap:" ;;
    --kernel | --initrd | --disk | --xml)
      mapfile -t COMPREPLY < <(compgen -f -- "$cur")
      return
      ;;
    --on-unplugged-access) words="ones stop log" ;;
    --log-level) words="debug info warning error off" ;;
    --backing) words="anonymous memfd hugetlb file:" ;;
    --engine) words="kvm threads" ;;
    --pattern) words="random sequential hot same-leaf" ;;
    --unplug) words="forced cooperative mixed" ;;
    --source) words="zero file: delay:" ;;
    --report)
      mapfile -t COMPREPLY < <(compgen -f -- "$cur")
      return
      ;;
    --json)
      if [[ $command == storm ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
      fi
      ;;
    --name | --cpus | --memory | --virtio-mem | --append | --id | --slot | --node | --address | --timeout | --interval | --vcpus | --regions | --region-size | \
      --duration | --churn | --fault-around | --seed)
      return
      ;;
  esac
  if [[ -n $words ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    return
  fi

  case $command in
    run)
      options="--name --xml --cpus --memory --kernel --initrd --append --linux --irqchip --disk --net --rng --virtio-console --virtio-mem --balloon --device --console"
      options+=" --on-unplugged-access --on-reboot --paused --log-level --help"
      ;;
    list | version) options="--json --help" ;;
    top) options="--interval --json --help" ;;
    info | pause | resume | kill | events | "memory list" | "memory operations" | "memory cancel") options="--json --help" ;;
    shutdown) options="--timeout --json --help" ;;
    save) options="--keep --json --help" ;;
    restore) options="--name --console --paused --log-level --help" ;;
    "memory plug") options="--id --slot --node --address --backing --json --help" ;;
    "memory resize") options="--id --timeout --json --help" ;;
    "memory balloon") options="--timeout --json --help" ;;
    xml | "memory trim") options="--help" ;;
    "memory auto") options="--set --json --help" ;;
    "memory unplug") options="--force --timeout --detach --json --help" ;;
    storm)
      options="--engine --vcpus --regions --region-size --duration --churn --pattern --unplug --source --fault-around"
      options+=" --seed --report --json --help"
      ;;
  esac
  if [[ $cur != -* ]]; then
    if [[ $command == restore || ($command == save && $COMP_CWORD -eq 3) ]]; then
      mapfile -t COMPREPLY < <(compgen -f -- "$cur")
      return
    fi
    case $command in
      info | pause | resume | shutdown | kill | save | xml | events | memory*)
        if [[ $COMP_CWORD -eq $first ]]; then
          words=$(_faultline_vms)
        elif [[ $command == "memory unplug" && $COMP_CWORD -eq $((first + 1)) ]]; then
          words=$(_faultline_devices "${COMP_WORDS[first]}")
        fi
        ;;
    esac
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words $options" -- "$cur")
}

complete -F _faultline faultline
