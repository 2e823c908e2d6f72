#!/usr/bin/env bash
# A command under the real launchers: torchrun, Open MPI, Slurm, and hosts with addresses of their own (network namespaces). What a
# machine does not allow is skipped by name. Debian packages are installed where that is possible: openmpi-bin slurm-wlm munge iproute2.
set -uo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
node=$(command -v node)
bin="$root/dist/bin.js"; [ -f "$bin" ] || bin="$root/src/cli/bin.ts"
work=$(mktemp -d)
chmod 755 "$work"
id=$(( $$ % 10000 ))
net="10.$(( 64 + id / 250 % 60 )).$(( id % 250 ))"
failed=0
hosts=()

clean() {
  for file in "$work"/run/*.pid; do [ -f "$file" ] && kill "$(cat "$file")" 2>/dev/null; done
  for name in "${hosts[@]}"; do ip netns del "$name" 2>/dev/null; done
  for i in 1 2 3; do ip link del "mmv$id-$i" 2>/dev/null; done
  ip link del "mmb$id" 2>/dev/null
  rm -rf "$work"
}
trap clean EXIT

good() { echo "ok       $1 (${SECONDS} s)"; }
bad() { echo "FAILED   $1"; sed 's/^/         /' "$2" | head -40; failed=1; }
skipped() { echo "skipped  $1: $2"; }

missing=()
for pair in mpirun:openmpi-bin srun:slurm-wlm munged:munge ip:iproute2; do command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}"); done
if [ ${#missing[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } > "$work/apt.log" 2>&1
fi

# The launcher's own variables only: whoever runs this may be a task of a job, too.
unset RANK WORLD_SIZE LOCAL_RANK MASTER_ADDR MASTER_PORT
for name in $(compgen -e | grep -E '^(SLURM_|OMPI_|PMI_|PMIX_|TORCHELASTIC_|MEGATRON_MIMO_)'); do unset "$name"; done

layout=(--component language=tp=2,pp=2 --component images=tp=1)
"$node" "$bin" sample "$work/hf" -q && "$node" "$bin" import --hf-model "$work/hf" --megatron-path "$work/model" "${layout[@]}" -q || exit 1
"$node" "$bin" verify --deep "$work/model" --json > "$work/alone.json" || exit 1
verify=("$node" "$bin" verify --deep "$work/model" --json)

# What one process of several prints is what a single one does, but for the notes.
same() {
  "$node" -e '
    const [alone, job] = process.argv.slice(1).map((path) => JSON.parse(require("fs").readFileSync(path, "utf8")))
    const { notes: _, ...one } = alone
    const { notes, ...several } = job
    process.exit(JSON.stringify(one) === JSON.stringify(several) ? 0 : 1)' "$work/alone.json" "$1"
}
# expect NAME OUT COMMAND...: exits 0 and prints that.
expect() {
  local name=$1 out=$2
  shift 2
  if timeout 60 "$@" > "$out" 2> "$out.err" && same "$out" 2>/dev/null; then good "$name"; else cat "$out.err" >> "$out"; bad "$name" "$out"; fi
}

# converts NAME OUT COMMAND...: import (and export, unless only=import) write what one process writes, and nothing beside it.
converts() {
  local name=$1 out="$work/$2"
  shift 2
  mkdir -p "$out"
  if timeout 60 "$@" "$node" "$bin" import --hf-model "$work/hf" --megatron-path "$out/model" "${layout[@]}" -q > "$out.log" 2>&1 &&
    diff -r "$work/model" "$out/model" >> "$out.log" 2>&1 &&
    { [ "${only:-}" = import ] || { timeout 60 "$@" "$node" "$bin" export --megatron-path "$out/model" --hf-model "$work/hf" --hf-path "$out/hf" -q >> "$out.log" 2>&1 &&
      diff -r "$work/hf" "$out/hf" >> "$out.log" 2>&1; }; } && [ "$(ls -A "$out" | grep -cvE '^(model|hf)$')" = 0 ]; then
    good "$name"
  else
    ls -A "$out" >> "$out.log"
    bad "$name" "$out.log"
  fi
}

# --- torchrun
torchrun=""
for candidate in "$root/.venv-interop/bin/torchrun" "$(command -v torchrun)"; do [ -x "$candidate" ] && torchrun=$candidate && break; done
if [ -n "$torchrun" ]; then
  # Each start of it loads torch, which takes longer than all the rest.
  only=import converts "torchrun, 3 processes, import" torchrun-model "$torchrun" --nproc-per-node 3 --no-python
  # The agent prints the cause, not what it made of the others.
  timeout 60 "$torchrun" --nproc-per-node 2 --no-python "$node" "$bin" verify --deep "$work/nothing" > "$work/cause" 2>&1
  if grep -q "InvalidFile: .*nothing: does not exist" "$work/cause"; then good "torchrun, the cause in its error file"; else bad "torchrun, the cause in its error file" "$work/cause"; fi
  # Nor does a job of one process leave it without.
  timeout 60 "$torchrun" --nproc-per-node 1 --no-python "$node" "$bin" verify "$work/nothing" "$work/nothing" > "$work/cause-of-one" 2>&1
  if grep -q "InvalidFile: .*nothing: does not exist" "$work/cause-of-one"; then good "torchrun, one process, the cause"; else bad "torchrun, one process, the cause" "$work/cause-of-one"; fi
else
  skipped "torchrun" "no torch here"
fi

# --- Open MPI
if command -v mpirun >/dev/null; then
  mpi=(mpirun --oversubscribe)
  [ "$(id -u)" = 0 ] && mpi+=(--allow-run-as-root)
  mpi3=("${mpi[@]}" -n 3)
  expect "Open MPI, 3 processes" "$work/mpirun" "${mpi3[@]}" "${verify[@]}"
  expect "Open MPI, files only" "$work/mpirun-file" "${mpi3[@]}" "${verify[@]}" --rendezvous file
  converts "Open MPI, import and export" mpirun-model "${mpi3[@]}"
  # As many processes as the layout has ranks: every group of both components lives.
  timeout 60 "${mpi[@]}" -n 6 "$node" tests/cluster/harness/groups.ts "$work" language=tp=2,pp=2 images=tp=2 > "$work/groups" 2>&1
  if grep -q "^6 ranks, 88 memberships of groups$" "$work/groups"; then good "Open MPI, process groups of two components"; else bad "Open MPI, process groups of two components" "$work/groups"; fi
else
  skipped "Open MPI" "no mpirun here"
fi

# --- hosts with addresses of their own
namespaces() {
  [ "$(id -u)" = 0 ] && command -v ip >/dev/null && command -v nsenter >/dev/null || return 1
  ip link add "mmb$id" type bridge && ip addr add "$net.254/24" dev "mmb$id" && ip link set "mmb$id" up || return 1
  for i in 1 2 3; do
    local name="mmh$id-$i"
    ip netns add "$name" || return 1
    hosts+=("$name")
    ip link add "mmv$id-$i" type veth peer name eth0 netns "$name" && ip link set "mmv$id-$i" master "mmb$id" up &&
      ip -n "$name" addr add "$net.$i/24" dev eth0 && ip -n "$name" link set eth0 up && ip -n "$name" link set lo up || return 1
  done
}
# on I COMMAND...: on host I, which is called hostI. Not `ip netns exec`, which hides /sys/fs/cgroup.
on() {
  local i=$1
  shift
  nsenter --net="/run/netns/mmh$id-$i" unshare --uts sh -c 'hostname "$0"; exec "$@"' "host$i" "$@"
}
# across NAME OUT [ARGUMENT...]: three processes on three hosts.
across() {
  local name=$1 out=$2
  shift 2
  local pids=() codes=""
  for i in 3 2 1; do
    MEGATRON_MIMO_RUN_ID="run-$out" MEGATRON_MIMO_RANK=$((i - 1)) MEGATRON_MIMO_WORLD_SIZE=3 on "$i" timeout 60 "${verify[@]}" "$@" > "$work/$out.$i" 2> "$work/$out.$i.err" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || codes="$codes $?"; done
  if [ -z "$codes" ] && same "$work/$out.1" 2>/dev/null && [ ! -s "$work/$out.2" ]; then good "$name"; else cat "$work/$out".*.err > "$work/$out"; bad "$name" "$work/$out"; fi
}

if namespaces > "$work/ip.log" 2>&1; then
  across "three hosts, rank 0's address in the shared directory" directory
  across "three hosts, through TLS" tls --rendezvous tls+directory
  export MEGATRON_MIMO_TOKEN=$(od -An -tx1 -N32 /dev/urandom | tr -d ' \n')
  across "three hosts, HOST:PORT and a token" address --rendezvous "$net.1:29777"
  unset MEGATRON_MIMO_TOKEN

  # A host loses the network: nobody is told.
  options='{"directory":"'$work'","rendezvous":"directory","unitMs":600,"limits":{"beat":300,"silence":2000,"join":60000}}'
  pids=()
  for i in 1 2 3; do
    MEGATRON_MIMO_RUN_ID=lost MEGATRON_MIMO_RANK=$((i - 1)) MEGATRON_MIMO_WORLD_SIZE=3 on "$i" timeout 60 "$node" tests/cluster/harness/process.ts "$options" > "$work/lost.$i" 2>&1 &
    pids+=($!)
  done
  for _ in $(seq 300); do [ "$(cat "$work"/lost.? | grep -c joined)" = 3 ] && break; sleep 0.1; done
  ip -n "mmh$id-3" link set eth0 down
  for pid in "${pids[@]}"; do wait "$pid"; done
  if grep -q "rank 2 on host host3 failed: it was lost: no sign of life for 2 s" "$work/lost.1" "$work/lost.2" && grep -q "rank 0) was lost: no sign of life for 2 s" "$work/lost.3" && ! cat "$work"/lost.? | grep -q published; then
    good "three hosts, one loses the network"
  else
    cat "$work"/lost.? > "$work/lost"
    bad "three hosts, one loses the network" "$work/lost"
  fi
  ip -n "mmh$id-3" link set eth0 up
else
  skipped "hosts in network namespaces" "$(tail -1 "$work/ip.log" | head -c 200)"
fi

# --- Slurm: on these hosts, or on this one
slurm() {
  command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null && [ "$(id -u)" = 0 ] || return 1
  mkdir -m 755 "$work/run" "$work/state" "$work/spool"
  head -c 128 /dev/urandom > "$work/munge.key"
  chmod 600 "$work/munge.key"
  munged --force --key-file="$work/munge.key" --socket="$work/run/munge.socket" --pid-file="$work/run/munged.pid" --log-file="$work/munged.log" --seed-file="$work/munge.seed" || return 1
  local address=127.0.0.1
  [ ${#hosts[@]} = 3 ] && address="$net.254"
  cat > "$work/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$(hostname)($address)
SlurmctldPort=$(( 20000 + id ))
SlurmdPort=$(( 30000 + id ))
AuthType=auth/munge
AuthInfo=socket=$work/run/munge.socket
CredType=cred/munge
ProctrackType=proctrack/pgid
SlurmUser=root
SlurmdUser=root
SlurmctldPidFile=$work/run/slurmctld.pid
SlurmdPidFile=$work/run/slurmd.%n.pid
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool/%n
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.%n.log
SwitchType=switch/none
TaskPlugin=task/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
MpiDefault=none
CONF
  local names
  if [ ${#hosts[@]} = 3 ]; then
    names="host[1-3]"
    for i in 1 2 3; do echo "NodeName=host$i NodeAddr=$net.$i CPUs=2 RealMemory=500 State=UNKNOWN" >> "$work/slurm.conf"; mkdir -p "$work/spool/host$i"; done
  else
    names=$(hostname)
    echo "NodeName=$names NodeAddr=127.0.0.1 CPUs=4 RealMemory=500 State=UNKNOWN" >> "$work/slurm.conf"
    mkdir -p "$work/spool/$names"
  fi
  echo "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP" >> "$work/slurm.conf"
  export SLURM_CONF="$work/slurm.conf"
  slurmctld -c -f "$SLURM_CONF" || return 1
  if [ ${#hosts[@]} = 3 ]; then for i in 1 2 3; do on "$i" slurmd -f "$SLURM_CONF" || return 1; done; else slurmd -f "$SLURM_CONF" || return 1; fi
  for _ in $(seq 100); do [ "$(sinfo -h -o %T)" = idle ] && return 0; sleep 0.1; done
  return 1
}
if slurm > "$work/slurm.log" 2>&1; then
  if [ ${#hosts[@]} = 3 ]; then
    expect "Slurm, 4 tasks on 3 hosts" "$work/srun" srun --kill-on-bad-exit=1 -N 3 -n 4 "${verify[@]}"
    expect "Slurm, 4 tasks on 3 hosts, files only" "$work/srun-file" srun --kill-on-bad-exit=1 -N 3 -n 4 "${verify[@]}" --rendezvous file
    converts "Slurm, 4 tasks on 3 hosts, import and export" srun-model srun --kill-on-bad-exit=1 -N 3 -n 4
  else
    expect "Slurm, 3 tasks on one host" "$work/srun" srun --kill-on-bad-exit=1 -n 3 "${verify[@]}"
    converts "Slurm, 3 tasks on one host, import and export" srun-model srun --kill-on-bad-exit=1 -n 3
  fi
  # One flipped bit is found by whoever reads that file, told by rank 0, and is the step's exit code.
  file=$(ls "$work"/model/iter_*/__0_*.distcp | head -1)
  printf '\x55' | dd of="$file" bs=1 seek=5000 conv=notrunc 2>/dev/null
  timeout 60 srun -n 3 "${verify[@]}" > "$work/damaged" 2>&1
  code=$?
  if [ "$code" = 1 ] && grep -q '"problem": "content"' "$work/damaged"; then good "Slurm, damage found by one is told by rank 0"; else echo "exit code $code" >> "$work/damaged"; bad "Slurm, damage found by one is told by rank 0" "$work/damaged"; fi
else
  skipped "Slurm" "$(tail -1 "$work/slurm.log" | head -c 200)"
fi

exit "$failed"
