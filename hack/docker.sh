# shellcheck shell=bash
# The Docker Engine for Waybill's tests and demo, sourced by setup.sh: finds one that answers, or
# starts one of its own beside whatever is there, and stops exactly what it started.
#
# Only Debian's essential packages are relied on beside Docker itself: perl-base talks to the
# engine's socket, so neither curl nor the docker client is needed.

: "${cache:?set by setup.sh}"

# run_dir is short, because the path of a Unix socket is limited to 107 characters.
run_dir="/run/waybill-$(printf %s "$cache" | cksum | cut -d' ' -f1)"
data_root="$cache/docker"
exec_root="$run_dir/exec"
socket="$run_dir/docker.sock"
record="$run_dir/engine" # pid, its start time, whether docker0 is ours, policy of FORWARD before

# http_get SOCKET PATH prints the body of an answer 200, within 5 seconds.
http_get() {
	perl -MIO::Socket::UNIX -e '
		alarm 5;
		my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or exit 1;
		print $s "GET $ARGV[1] HTTP/1.0\r\nHost: docker\r\n\r\n";
		my @answer = <$s>;
		exit 1 unless @answer && $answer[0] =~ m{^HTTP/1\.\d 200 };
		shift @answer while @answer && $answer[0] !~ /^\r?\n$/;
		shift @answer;
		print @answer;
	' "$1" "$2" 2>/dev/null
}

answers() { [ -S "$1" ] && http_get "$1" /_ping >/dev/null; }

# find_engine prints the socket of an engine that answers.
find_engine() {
	local candidate
	case "${DOCKER_HOST:-}" in
	"" | unix://*) ;;
	*) say "DOCKER_HOST=$DOCKER_HOST is not on this machine and is passed over: Waybill mounts folders of this machine into containers" ;;
	esac
	for candidate in "${DOCKER_HOST:-}" unix:///var/run/docker.sock "unix://$socket"; do
		case "$candidate" in unix://*) ;; *) continue ;; esac
		if answers "${candidate#unix://}"; then
			printf '%s\n' "${candidate#unix://}"
			return 0
		fi
	done
	return 1
}

# start_time PID prints when a process was started, in ticks since boot; with it a number that was
# given to another process since is told apart.
start_time() {
	[ -r "/proc/$1/stat" ] || return 1
	sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
}

# recorded_engine prints the number of the dockerd that an earlier run started, if it still runs.
recorded_engine() {
	local pid started rest
	[ -r "$record" ] || return 1
	read -r pid started rest <"$record" || return 1
	: "$rest"
	[ -n "$pid" ] && [ "$(start_time "$pid")" = "$started" ] && printf '%s\n' "$pid"
}

other_engine_runs() {
	local proc own
	own=$(recorded_engine || true)
	for proc in /proc/[0-9]*; do
		[ "$(cat "$proc/comm" 2>/dev/null)" = dockerd ] || continue
		[ "${proc#/proc/}" = "$own" ] || return 0
	done
	return 1
}

overlay_works() {
	local dir="$data_root/.overlay-trial" result=1
	mkdir -p "$dir/lower" "$dir/upper" "$dir/work" "$dir/merged"
	if mount -t overlay overlay -o "lowerdir=$dir/lower,upperdir=$dir/upper,workdir=$dir/work" "$dir/merged" 2>/dev/null; then
		umount "$dir/merged" && result=0
	fi
	rm -rf "$dir"
	return $result
}

# ensure_cgroups mounts the unified hierarchy where no cgroup is mounted at all (a bare chroot).
ensure_cgroups() {
	if awk '$3 == "cgroup" || $3 == "cgroup2" { found = 1 } END { exit !found }' /proc/self/mounts; then
		return 0
	fi
	say "no cgroup file system is mounted: mounting cgroup2 at /sys/fs/cgroup"
	mkdir -p /sys/fs/cgroup
	mount -t cgroup2 cgroup2 /sys/fs/cgroup ||
		die "the Docker Engine needs cgroups, and mounting them at /sys/fs/cgroup failed; mount them (Debian package cgroupfs-mount) and try again"
	: >"$run_dir/cgroup-mounted"
}

# iptables_folder prints a folder to put before PATH when only the legacy iptables works with this kernel.
iptables_folder() {
	if iptables -t nat -S >/dev/null 2>&1; then
		return 0
	fi
	if iptables-legacy -t nat -S >/dev/null 2>&1; then
		say "this kernel has no nftables: the engine gets iptables-legacy"
		mkdir -p "$run_dir/bin"
		local tool
		for tool in iptables ip6tables; do
			ln -sf "$(command -v $tool-legacy)" "$run_dir/bin/$tool"
		done
		printf '%s\n' "$run_dir/bin"
		return 0
	fi
	die "iptables does not work here ($(iptables -t nat -S 2>&1 | head -n1)); the Docker Engine needs it for its networks: run with CAP_NET_ADMIN on a kernel with netfilter"
}

# launch runs dockerd in the background and returns when it says that it is ready (sd_notify(3)),
# or has ended, or a minute has passed. Prints its process number.
launch() {
	NOTIFY_SOCKET="$run_dir/notify" perl -MIO::Socket::UNIX -MSocket -MPOSIX -MTime::HiRes=time -e '
		my ($log, $engine, @command) = @ARGV;
		my $path = $ENV{NOTIFY_SOCKET};
		unlink $path;
		my $notify = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $path) or die "notify socket $path: $!\n";
		my $pid = fork // die "fork: $!\n";
		if (!$pid) {
			POSIX::setsid();
			open STDIN, "<", "/dev/null";
			open STDOUT, ">", $log or die "$log: $!\n";
			open STDERR, ">&", \*STDOUT;
			POSIX::close($_) for 3 .. 63; # a lock of the script must not live on in the engine
			exec @command or POSIX::_exit(127);
		}
		my $end = time + 60;
		while (time < $end) {
			if (waitpid($pid, POSIX::WNOHANG) == $pid) { unlink $path; exit 1 }
			my $ready = ""; vec($ready, fileno $notify, 1) = 1;
			next unless select($ready, undef, undef, 0.5);
			$notify->recv(my $message, 4096);
			# containerd says READY too: the engine itself must answer.
			next unless $message =~ /READY=1/;
			my $s = IO::Socket::UNIX->new(Peer => $engine) or next;
			print $s "GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n";
			my $line = <$s>;
			next unless $line && $line =~ m{ 200 };
			unlink $path;
			print "$pid\n";
			exit 0;
		}
		kill "TERM", $pid;
		unlink $path;
		exit 1;
	' "$run_dir/log" "$socket" "$@"
}

# own_bridge makes a default bridge for an engine beside another one, and prints its name. (With
# --bridge=none dockerd would remove docker0, whoever uses it.)
own_bridge() {
	local name="wb${run_dir##*-}" n taken
	command -v ip >/dev/null || die "another engine uses docker0, and making a bridge of our own takes 'ip': hack/setup.sh packages docker"
	if [ ! -d "/sys/class/net/$name" ]; then
		taken=$(ip -4 -o addr show && ip -4 route show)
		for n in $(seq 200 254); do
			case "$taken" in *" 10.213.$n."* | *"10.213.$n.0/"*) continue ;; esac
			if ip link add "$name" type bridge && ip addr add "10.213.$n.1/24" dev "$name" && ip link set "$name" up; then
				break
			fi
			die "another engine uses docker0, and a bridge of our own could not be made"
		done
	fi
	printf '%s\n' "$name" >"$run_dir/bridge"
	printf '%s\n' "$name"
}

start_engine() {
	local pid driver=overlay2 bridge="" ours="" policy="" shim options
	command -v dockerd >/dev/null || die "no Docker Engine answers and dockerd is not installed; install it: hack/setup.sh packages docker"
	[ "$(id -u)" = 0 ] || die "no Docker Engine answers, and starting one takes root: run as root 'hack/setup.sh docker', or start the machine's own: sudo systemctl start docker (and join the group docker)"
	mkdir -p "$data_root" "$run_dir"
	chmod 711 "$run_dir"
	if pid=$(recorded_engine); then
		say "the engine of an earlier run ($pid) does not answer: stopping it first"
		stop_engine
		mkdir -p "$run_dir"
	fi
	[ ! -r "$record" ] || read -r _ _ ours policy <"$record" # of one that was killed: what it found is what counts
	rm -f "$run_dir/docker.pid" "$socket" # stale ones; a live engine would have been found
	ensure_cgroups
	overlay_works || {
		driver=vfs
		say "overlay file systems do not work on $data_root: using vfs, which is slow and takes much room for each container"
	}
	if [ -S /run/containerd/containerd.sock ] && ! perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Peer => $ARGV[0]) or exit 1' /run/containerd/containerd.sock; then
		die "/run/containerd/containerd.sock is left by a containerd that is gone, and dockerd would try to use it: start that containerd or remove the file"
	fi
	if [ -d /sys/class/net/docker0 ]; then
		if other_engine_runs; then
			bridge=$(own_bridge)
			say "docker0 belongs to another engine that runs here: this one gets the bridge $bridge"
			say "careful: starting an engine clears the rules by which the other publishes ports to other machines; restart that one afterwards if it serves any"
		else
			[ -n "$ours" ] || say "docker0 exists already: using it, and leaving it when stopping"
		fi
	else
		ours=yes
	fi
	[ -n "$policy" ] || policy=$(iptables -S FORWARD 2>/dev/null | sed -n 's/^-P FORWARD //p')
	shim=$(iptables_folder)
	options=(--data-root "$data_root" --exec-root "$exec_root" -H "unix://$socket" -p "$run_dir/docker.pid"
		--storage-driver "$driver" --containerd-namespace "waybill-${run_dir##*-}" --containerd-plugins-namespace "waybill-plugins-${run_dir##*-}")
	[ -z "$bridge" ] || options+=(--bridge "$bridge")
	say "starting a Docker Engine (images in $data_root, log in $run_dir/log)"
	pid=$(PATH="${shim:+$shim:}$PATH" launch dockerd "${options[@]}") ||
		die "the Docker Engine did not come up; the end of $run_dir/log:
$(tail -n 15 "$run_dir/log" 2>/dev/null)"
	printf '%s %s %s %s\n' "$pid" "$(start_time "$pid")" "${ours:-no}" "${policy:-ACCEPT}" >"$record"
	say "Docker Engine is ready at unix://$socket (process $pid)"
}

# restart_engine restarts the engine that was started from here, as an upgrade of it would: its
# containers stop, and come back by their restart policies.
restart_engine() {
	local pid
	pid=$(recorded_engine) || die "only an engine that 'hack/setup.sh docker' started is restarted, and there is none"
	say "restarting Docker Engine (process $pid)"
	kill -TERM "$pid"
	await_end "$pid" 60 || die "process $pid did not end within a minute"
	start_engine
}

# engine_bridges prints the bridges of the networks that our engine made.
engine_bridges() {
	http_get "$socket" /networks | grep -o '"Id":"[0-9a-f]\{64\}"' | sed 's/"Id":"\([0-9a-f]\{12\}\).*/br-\1/' || true
}

# await_end PID SECONDS returns once the process has ended, or fails.
await_end() { timeout "$2" tail --pid="$1" -f /dev/null; }

# of_ours prints the processes of our engine other than dockerd: containerd and its shims name the
# exec root in their arguments; what runs in the containers are the shims' children.
of_ours() {
	local proc line pid
	for proc in /proc/[0-9]*; do
		line=$(tr '\0' ' ' 2>/dev/null <"$proc/cmdline") || continue
		case "$line" in
		*containerd-shim*"$exec_root"*)
			pid=${proc#/proc/}
			cat "/proc/$pid/task/$pid/children" 2>/dev/null
			printf '%s\n' "$pid"
			;;
		containerd*"$exec_root"* | */containerd*"$exec_root"*) printf '%s\n' "${proc#/proc/}" ;;
		esac
	done
}

stop_engine() {
	local pid started ours=no policy=ACCEPT bridges="" link mounted
	if [ ! -r "$record" ]; then
		say "no Docker Engine was started from here; nothing to stop"
		return 0
	fi
	[ "$(id -u)" = 0 ] || die "stopping the Docker Engine that was started from here takes root: sudo hack/setup.sh stop"
	read -r pid started ours policy <"$record"
	: "$started"
	if pid=$(recorded_engine); then
		bridges=$(engine_bridges)
		say "stopping Docker Engine (process $pid) and its containers"
		kill -TERM "$pid"
		await_end "$pid" 60 || {
			say "it did not end within a minute: killing it"
			kill -KILL "$pid" 2>/dev/null || true
			await_end "$pid" 10 || die "process $pid cannot be killed"
		}
	fi
	for pid in $(of_ours); do # only where it was killed
		kill -KILL "$pid" 2>/dev/null || true
		await_end "$pid" 10 || say "process $pid of the engine does not end"
	done
	# dockerd mounts the data folder on itself; a volume that somebody mounted there stays.
	awk -v a="$exec_root/" -v b="$data_root" '
		index($5, a) == 1 || index($5, b "/") == 1 { print $5 }
		$5 == b && $4 != "/" && substr(b, length(b) - length($4) + 1) == $4 { print $5 }
	' /proc/self/mountinfo | sort -r |
		while read -r mounted; do umount -l "$mounted"; done
	if command -v ip >/dev/null; then
		[ "$ours" != yes ] || bridges="$bridges docker0"
		[ ! -r "$run_dir/bridge" ] || bridges="$bridges $(cat "$run_dir/bridge")"
		for link in $bridges; do
			[ ! -d "/sys/class/net/$link" ] || ip link delete "$link"
		done
	fi
	other_engine_runs || [ "$ours" != yes ] || clear_rules "$policy"
	if [ -e "$run_dir/cgroup-mounted" ]; then
		umount /sys/fs/cgroup || true
	fi
	rm -rf "$run_dir"
	say "stopped; images stay in $data_root"
}

# clear_rules takes away the rules that the engine left in iptables, where no other one runs.
clear_rules() {
	local tool table rule chain
	[ ! -d "$run_dir/bin" ] || PATH="$run_dir/bin:$PATH"
	for tool in iptables ip6tables; do
		for table in nat filter; do
			{ $tool -t $table -S 2>/dev/null || true; } |
				sed -nE '/ DOCKER| docker0( |$)| br-[0-9a-f]{12}( |$)/s/^-A ((PREROUTING|OUTPUT|POSTROUTING|FORWARD) .*)/\1/p' |
				while read -r rule; do
					# shellcheck disable=SC2086 # the rule's words
					$tool -t $table -D $rule 2>/dev/null || true
				done
			for chain in $(docker_chains $tool $table); do $tool -t $table -F "$chain" 2>/dev/null || true; done
			for chain in $(docker_chains $tool $table); do $tool -t $table -X "$chain" 2>/dev/null || true; done
		done
	done
	iptables -P FORWARD "$1" 2>/dev/null || true
}

docker_chains() { { "$1" -t "$2" -S 2>/dev/null || true; } | sed -n 's/^-N \(DOCKER.*\)$/\1/p'; }
