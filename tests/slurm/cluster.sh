#!/usr/bin/env bash
# A private Slurm cluster of four nodes on loopback, for tests: no root, no systemd, nothing outside its folder.
#
#   eval "$(cluster.sh start FOLDER)"   starts it and prints the environment to use
#   cluster.sh node FOLDER n2           starts the slurmd of one node (again)
#   cluster.sh controller FOLDER        starts slurmctld (again)
#   cluster.sh stop FOLDER              stops what `start` has started; what jobs left behind is killed as well
#
# CLUSTER_MAX_ARRAY (default 1001), CLUSTER_CPUS (a node, default 4) and CLUSTER_GPUS (a node, default 0) change it.
# Needs: apt-get install --no-install-recommends slurmctld slurmd slurm-client munge
set -euo pipefail

readonly NODES=(n1 n2 n3 n4)
export PATH="$PATH:/usr/sbin:/sbin"

fail() {
    echo "cluster.sh: $*" >&2
    exit 1
}

# Ports that nobody listens on, below the range that the kernel gives to outgoing connections.
free_ports() {
    local wanted=$1 port=$((20000 + RANDOM % 9000)) found=()
    while ((${#found[@]} < wanted)); do
        ((port += 1))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || found+=("$port")
    done
    echo "${found[@]}"
}

write_configuration() {
    local folder=$1 ports
    read -ra ports <<<"$(free_ports 5)"
    local cpus=${CLUSTER_CPUS:-4} gpus=${CLUSTER_GPUS:-0} gres="" types=""
    if ((gpus > 0)); then
        gres=" Gres=gpu:$gpus"
        types="GresTypes=gpu"
        # A device that is there and that nobody opens; a regular file, or none, is refused.
        for node in "${NODES[@]}"; do
            echo "NodeName=$node Name=gpu File=/dev/tty[0-$((gpus - 1))]"
        done >"$folder/gres.conf"
    fi
    cat >"$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=10000,bf_interval=1
MaxArraySize=${CLUSTER_MAX_ARRAY:-1001}
MpiDefault=none
ReturnToService=2
KillWait=3
SlurmdTimeout=15
SlurmctldTimeout=10
MessageTimeout=5
MinJobAge=60
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool.%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.%n.log
$types
CONF
    local index=1
    for node in "${NODES[@]}"; do
        echo "NodeName=$node NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=${ports[$index]} CPUs=$cpus RealMemory=4000$gres"
        ((index += 1))
    done >>"$folder/slurm.conf"
    local nodes
    nodes=$(IFS=, && echo "${NODES[*]}")
    cat >>"$folder/slurm.conf" <<CONF
PartitionName=main Nodes=$nodes Default=YES MaxTime=INFINITE State=UP
CONF
    # Never consulted with these plugins, and yet slurmd wants to read it where systemd is not.
    echo "CgroupPlugin=cgroup/v1" >"$folder/cgroup.conf"
}

start_munge() {
    local folder=$1/munge
    mkdir -p "$folder"
    chmod 0755 "$1" "$folder"
    if [[ ! -e $folder/key ]]; then
        (umask 077 && head -c 1024 /dev/urandom >"$folder/key")
    fi
    # --force: the folders above may belong to somebody else (a temporary folder).
    SLURM_CONF=$1/slurm.conf munged --force --socket="$folder/socket" --key-file="$folder/key" --log-file="$folder/log" \
        --pid-file="$folder/pid" --seed-file="$folder/seed" --num-threads=2 2>"$folder/start.log" ||
        fail "munged does not start: $(cat "$folder/start.log")"
}

start_controller() {
    SLURM_CONF=$1/slurm.conf slurmctld
}

start_node() {
    SLURM_CONF=$1/slurm.conf slurmd -N "$2"
}

await_nodes() {
    local folder=$1
    for _ in $(seq 100); do
        if [[ $(SLURM_CONF=$folder/slurm.conf timeout 5 sinfo -h -N -o %T 2>/dev/null | grep -c '^idle$') -eq ${#NODES[@]} ]]; then
            return
        fi
        sleep 0.1
    done
    fail "the nodes do not come up; see $folder/slurmctld.log and $folder/slurmd.*.log"
}

start() {
    local folder=$1
    for program in munged slurmctld slurmd sbatch; do
        command -v "$program" >/dev/null ||
            fail "there is no \`$program\`: apt-get install --no-install-recommends slurmctld slurmd slurm-client munge"
    done
    [[ ! -e $folder/slurm.conf ]] || fail "$folder holds a cluster already: stop it, or name another folder"
    # The path of a socket holds 107 bytes.
    ((${#folder} < 80)) || fail "the path of the folder is too long for a socket: $folder"
    mkdir -p "$folder/state"
    write_configuration "$folder"
    start_munge "$folder"
    start_controller "$folder"
    for node in "${NODES[@]}"; do
        mkdir -p "$folder/spool.$node"
        start_node "$folder" "$node"
    done
    await_nodes "$folder"
    echo "export SLURM_CONF='$folder/slurm.conf'"
}

# Whether a process was started with this cluster in its environment.
belongs() {
    grep -zqxF "SLURM_CONF=$2/slurm.conf" "/proc/$1/environ" 2>/dev/null
}

# Sends a signal to the process of a pid file, if it is still this cluster's.
send() {
    local signal=$1 folder=$2 file=$3 pid
    pid=$(cat "$folder/$file" 2>/dev/null) || return 0
    if belongs "$pid" "$folder"; then
        kill "-$signal" "$pid" 2>/dev/null || true
    fi
}

stop() {
    local folder=$1
    [[ -e $folder/slurm.conf ]] || fail "$folder holds no cluster"
    SLURM_CONF=$folder/slurm.conf timeout 10 scancel --user="$(id -un)" --signal=KILL 2>/dev/null || true
    SLURM_CONF=$folder/slurm.conf timeout 10 scancel --user="$(id -un)" 2>/dev/null || true
    # What a dead slurmd has left behind: jobs, and their keepers, which hide their environment.
    for process in /proc/[0-9]*; do
        local pid=${process#/proc/} keeper=""
        if [[ $(cat "$process/comm" 2>/dev/null) == slurmstepd ]]; then
            keeper=$(readlink "$process/cwd") || true
        fi
        if [[ $keeper == "$folder" ]] ||
            { belongs "$pid" "$folder" && grep -zq '^SLURM_JOB_ID=' "$process/environ" 2>/dev/null; }; then
            kill -KILL "$pid" 2>/dev/null || true
        fi
    done
    local files=(slurmctld.pid "${NODES[@]/#/slurmd.}")
    for file in "${files[@]}"; do
        send TERM "$folder" "${file%.pid}.pid"
    done
    for _ in $(seq 50); do
        compgen -G "$folder/slurm*.pid" >/dev/null || break
        sleep 0.1
    done
    for file in "${files[@]}"; do
        send KILL "$folder" "${file%.pid}.pid"
    done
    send TERM "$folder" munge/pid
    rm -f "$folder/slurm.conf"
}

[[ $# -ge 2 ]] || fail "usage: cluster.sh start|stop|controller FOLDER, cluster.sh node FOLDER NAME"
mkdir -p "$2"
FOLDER=$(realpath "$2")
case $1 in
    start) start "$FOLDER" ;;
    stop) stop "$FOLDER" ;;
    controller) start_controller "$FOLDER" ;;
    node) start_node "$FOLDER" "${3:?which node}" ;;
    *) fail "there is no \`$1\`; there is start, stop, controller, node" ;;
esac
