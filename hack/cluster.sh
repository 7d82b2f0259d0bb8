#!/usr/bin/env bash
# A real Kubernetes of one node on this machine, with what an ERP there has beside it: a registry, PostgreSQL, Redis, Traefik
# and a volume. Every command is idempotent, says what it does on stderr, and prints only what a caller evaluates.
#
#   hack/cluster.sh up              start what does not run yet; about a minute, the first time half an hour (it builds Kubernetes and Traefik)
#   hack/cluster.sh s3              start object storage beside it; builds that the first time
#   hack/cluster.sh metrics         start what tells autoscalers how busy pods are; builds that the first time
#   hack/cluster.sh tools           build only what "up" would build
#   eval "$(hack/cluster.sh env)"   KUBECONFIG, and where everything is, with its password
#   hack/cluster.sh status          what runs
#   hack/cluster.sh kill PART       end kubelet, kube-apiserver, redis or postgres as kill -9 does; start PART starts it again
#   hack/cluster.sh down            stop it all; what it has stored goes too, what was built stays in the cache
#
# State and logs are in /var/lib/waybill-cluster (WAYBILL_CLUSTER). It takes root. Beside the folder it
# makes: a bridge, two tables of nftables, the rules of kube-proxy and the kubelet, a cgroup. down takes all of them away.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/.."
export PATH="$PATH:/usr/sbin:/sbin:/usr/local/go/bin" CGO_ENABLED=0
cache=${WAYBILL_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/waybill}

say() { printf 'cluster: %s\n' "$*" >&2; }
die() {
	say "$*"
	exit 1
}

# shellcheck source=hack/docker.sh
. "$here/docker.sh" # start_time, await_end, iptables_folder

state=${WAYBILL_CLUSTER:-/var/lib/waybill-cluster}
run=/run/waybill-cluster
log=$state/log
pki=$state/pki
bridge=waybill-node
node=10.212.255.1          # of the node, and of everything that listens for pods
pods=10.212.0.0/24         # of the node's pods
all_pods=10.212.0.0/17     # that nodes' ranges are taken from
services=10.212.128.0/18   # of services
api_service=10.212.128.1   # the first of them
web_port=30010             # of the node, where Traefik takes people's requests
cgroup=waybill-cluster

kube() { "$tools/kubectl" --kubeconfig "$pki/admin.kubeconfig" "$@"; }

# tools_of_cluster builds, or finds, the programs.
tools_of_cluster() {
	tools=$(hack/tools.sh kube)
	traefik=$(hack/tools.sh traefik)
	mkdir -p "$state/bin"
	go build -trimpath -ldflags '-s -w' -o "$state/bin/" ./hack/cluster/agent ./hack/cluster/pause ./hack/cluster/registry ./hack/cluster/image ./hack/cluster/pki
}

# running NAME prints the process that launch has recorded, if it lives.
running() {
	local pid started
	[ -r "$run/$1.pid" ] || return 1
	read -r pid started <"$run/$1.pid" || return 1
	[ -n "$pid" ] && [ "$(start_time "$pid")" = "$started" ] && printf '%s\n' "$pid"
}

# begin NAME COMMAND... starts a program that goes on, with a log of its own, and records it.
begin() {
	local name=$1 pid
	shift
	mkdir -p "$log" "$run"
	# The lock of this script (9) must not live on in it.
	setsid "$@" </dev/null >>"$log/$name.log" 2>&1 9>&- &
	pid=$!
	printf '%s %s\n' "$pid" "$(start_time "$pid")" >"$run/$name.pid"
}

# ensure NAME READY COMMAND... starts a program unless it runs, and returns once READY (a function) says so.
ensure() {
	local name=$1 ready=$2 start=$SECONDS
	shift 2
	if running "$name" >/dev/null && "$ready"; then
		say "$name: runs"
		return 0
	fi
	running "$name" >/dev/null || begin "$name" "$@"
	until "$ready"; do
		running "$name" >/dev/null || die "$name has ended; the end of $log/$name.log:
$(tail -n 15 "$log/$name.log")"
		[ $((SECONDS - start)) -lt 120 ] || die "$name is not ready after two minutes; the end of $log/$name.log:
$(tail -n 15 "$log/$name.log")"
		sleep 0.2
	done
	say "$name: ready after $((SECONDS - start)) s"
}

# finish NAME [SECONDS] ends a program, at last by force.
finish() {
	local pid
	if pid=$(running "$1"); then
		kill -TERM "$pid" 2>/dev/null || true
		await_end "$pid" "${2:-20}" || {
			say "$1 did not end within ${2:-20} s: killing it"
			kill -KILL "$pid" 2>/dev/null || true
			await_end "$pid" 10 || die "process $pid ($1) cannot be killed"
		}
	fi
	rm -f "$run/$1.pid"
}

# put FILE writes what it is given where that is new: kube-proxy ends when its file is touched.
put() {
	cat >"$1.new"
	if cmp -s "$1.new" "$1"; then rm "$1.new"; else mv "$1.new" "$1"; fi
}

listens() { (: >"/dev/tcp/$1/$2") 2>/dev/null; }

# --- What is made on the machine itself -----------------------------------------------------------

make_network() {
	local before
	if [ ! -d "/sys/class/net/$bridge" ]; then
		case "$(ip -4 -o addr show) $(ip -4 route show)" in
		*" 10.212."*) die "the network 10.212.0.0/16, which the cluster is given, is in use on this machine: $(ip -4 route show | grep -F 10.212. | head -1)" ;;
		esac
		ip link add "$bridge" type bridge
	fi
	ip -4 addr show dev "$bridge" | grep -qF "$node/" || ip addr add "$node/32" dev "$bridge"
	ip link set "$bridge" up
	before=$(cat /proc/sys/net/ipv4/ip_forward)
	if [ "$before" != 1 ]; then
		printf '%s\n' "$before" >"$run/ip_forward"
		echo 1 >/proc/sys/net/ipv4/ip_forward
	fi
	nft -f - <<-END
		table ip waybill-cluster
		delete table ip waybill-cluster
		table ip waybill-cluster {
			chain postrouting {
				type nat hook postrouting priority srcnat
				ip saddr $pods ip daddr != $pods masquerade
			}
		}
	END
	# A Docker Engine has what is forwarded dropped.
	local side
	for side in -s -d; do
		iptables -C FORWARD $side "$pods" -m comment --comment waybill-cluster -j ACCEPT 2>/dev/null ||
			iptables -I FORWARD $side "$pods" -m comment --comment waybill-cluster -j ACCEPT
	done
}

drop_network() {
	local side link table
	for side in -s -d; do
		while iptables -D FORWARD $side "$pods" -m comment --comment waybill-cluster -j ACCEPT 2>/dev/null; do :; done
	done
	for table in waybill-cluster waybill-policies; do
		! nft list table ip $table >/dev/null 2>&1 || nft delete table ip $table
	done
	[ ! -x "${proxy:-}" ] || "$proxy" --cleanup --v 0 >/dev/null 2>&1 || true
	drop_kubelet_chains
	for link in $(ip -o route show proto kernel 2>/dev/null | awk -v net="${pods%.*}." 'index($1, net) == 1 || index($0, "src " net) { for (i = 1; i < NF; i++) if ($i == "dev") print $(i + 1) }' | sort -u); do
		ip link delete "$link" 2>/dev/null || true # a pod's end here; it goes with the pod's namespace
	done
	[ ! -d "/sys/class/net/$bridge" ] || ip link delete "$bridge"
	if [ -r "$run/ip_forward" ]; then
		cat "$run/ip_forward" >/proc/sys/net/ipv4/ip_forward
	fi
}

# drop_kubelet_chains takes away the chains that the kubelet made, and what leads to them; it never does so itself.
drop_kubelet_chains() {
	local tool table chain rule
	for tool in iptables ip6tables; do
		for table in filter nat mangle; do
			for chain in KUBE-FIREWALL KUBE-KUBELET-CANARY; do
				$tool -w -t $table -S $chain >/dev/null 2>&1 || continue
				$tool -w -t $table -S | sed -n "s/^-A \(.* -j $chain\)\$/\1/p" | while read -r rule; do
					# shellcheck disable=SC2086 # a rule's words; those of the kubelet have no quotes
					$tool -w -t $table -D $rule
				done
				$tool -w -t $table -F $chain
				$tool -w -t $table -X $chain
			done
		done
	done
}

# cgroup_folders prints our cgroup in each hierarchy, whether it is there or not.
cgroup_folders() {
	if [ -r /sys/fs/cgroup/cgroup.controllers ]; then
		echo "/sys/fs/cgroup/$cgroup"
		return
	fi
	awk -v name="$cgroup" '$3 == "cgroup" || $3 == "cgroup2" { print $2 "/" name }' /proc/self/mounts
}

make_cgroup() {
	local folder controllers
	mkdir -p "$run_dir" # of docker.sh, which records there that it mounted cgroups
	ensure_cgroups
	for folder in $(cgroup_folders); do
		mkdir -p "$folder"
	done
	if [ -r /sys/fs/cgroup/cgroup.controllers ]; then
		controllers=$(sed 's/[^ ]*/+&/g' /sys/fs/cgroup/cgroup.controllers)
		echo "$controllers" >/sys/fs/cgroup/cgroup.subtree_control || die "the cgroup controllers$controllers cannot be given to a cluster here: run it on the machine itself, not in a container"
	fi
}

# drop_cgroup ends what still runs in our cgroup, and removes it.
drop_cgroup() {
	local folder procs try
	for try in $(seq 50); do
		procs=$(for folder in $(cgroup_folders); do [ ! -d "$folder" ] || find "$folder" -name cgroup.procs -exec cat {} + 2>/dev/null; done | sort -un)
		[ -n "$procs" ] || break
		# shellcheck disable=SC2086 # a list
		kill -KILL $procs 2>/dev/null || true
		sleep 0.1
	done
	: "$try"
	for folder in $(cgroup_folders); do
		[ ! -d "$folder" ] || find "$folder" -depth -type d -exec rmdir {} + || say "$folder stays"
	done
}

# --- The parts --------------------------------------------------------------------------------------

etcd_ready() { listens "$node" 2379; }
start_etcd() {
	ensure etcd etcd_ready etcd --name waybill --data-dir "$state/etcd" --log-outputs stderr --log-level warn --logger zap \
		--listen-client-urls "https://$node:2379" --advertise-client-urls "https://$node:2379" \
		--listen-peer-urls "https://127.0.0.1:23800" --initial-advertise-peer-urls "https://127.0.0.1:23800" --initial-cluster "waybill=https://127.0.0.1:23800" \
		--client-cert-auth --trusted-ca-file "$pki/ca.crt" --cert-file "$pki/etcd.crt" --key-file "$pki/etcd.key" \
		--peer-client-cert-auth --peer-trusted-ca-file "$pki/ca.crt" --peer-cert-file "$pki/etcd.crt" --peer-key-file "$pki/etcd.key"
}

api_ready() { kube get --raw /readyz >/dev/null 2>&1; }
start_api() {
	ensure kube-apiserver api_ready "$tools/kube-apiserver" --advertise-address "$node" --bind-address "$node" --secure-port 6443 \
		--etcd-servers "https://$node:2379" --etcd-cafile "$pki/ca.crt" --etcd-certfile "$pki/apiserver-etcd.crt" --etcd-keyfile "$pki/apiserver-etcd.key" \
		--client-ca-file "$pki/ca.crt" --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" \
		--kubelet-preferred-address-types InternalIP --kubelet-certificate-authority "$pki/ca.crt" --kubelet-client-certificate "$pki/apiserver-kubelet.crt" --kubelet-client-key "$pki/apiserver-kubelet.key" \
		--service-account-issuer https://kubernetes.default.svc --service-account-key-file "$pki/accounts.key" --service-account-signing-key-file "$pki/accounts.key" \
		--service-cluster-ip-range "$services" --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged \
		--requestheader-client-ca-file "$pki/front-ca.crt" --requestheader-allowed-names front-proxy --requestheader-username-headers X-Remote-User \
		--requestheader-group-headers X-Remote-Group --requestheader-extra-headers-prefix X-Remote-Extra- \
		--proxy-client-cert-file "$pki/front-proxy.crt" --proxy-client-key-file "$pki/front-proxy.key" \
		--cert-dir "$state/pki-own"
}

manager_ready() { listens 127.0.0.1 10257; }
start_manager() {
	ensure kube-controller-manager manager_ready "$tools/kube-controller-manager" --kubeconfig "$pki/controller-manager.kubeconfig" \
		--bind-address 127.0.0.1 --leader-elect=false --use-service-account-credentials --service-account-private-key-file "$pki/accounts.key" --root-ca-file "$pki/ca.crt" \
		--allocate-node-cidrs --cluster-cidr "$all_pods" --node-cidr-mask-size 24 --service-cluster-ip-range "$services" --cert-dir "$state/pki-own"
}

scheduler_ready() { listens 127.0.0.1 10259; }
start_scheduler() {
	ensure kube-scheduler scheduler_ready "$tools/kube-scheduler" --kubeconfig "$pki/scheduler.kubeconfig" --bind-address 127.0.0.1 --leader-elect=false --cert-dir "$state/pki-own"
}

registry_ready() { listens "$node" 5000; }
start_registry() {
	password registry
	ensure registry registry_ready "$state/bin/registry" -dir "$state/registry" -listen "$node:5000" -password "$state/registry.password"
}

# password NAME makes one, once, for whoever may read root's files.
password() { [ -s "$state/$1.password" ] || (umask 077 && head -c 18 /dev/urandom | base64 | tr '+/' '-_' >"$state/$1.password"); }

# as USER COMMAND... runs a server that refuses to be root, or need not be.
as() {
	local user=$1
	shift
	setpriv --reuid "$user" --regid "$user" --clear-groups -- "$@"
}

postgres_ready() { as postgres "$postgres/pg_isready" -q -h "$node" -p 5432; }
start_postgres() {
	local data=$state/postgres/data
	postgres=$(find /usr/lib/postgresql -path '*/bin/postgres' | sort -V | tail -1 | xargs -r dirname)
	[ -n "$postgres" ] || die "there is no PostgreSQL in /usr/lib/postgresql: apt-get install postgresql"
	password postgres
	if [ ! -d "$data" ]; then
		install -d -o postgres -g postgres -m 700 "$state/postgres"
		install -o postgres -g postgres -m 600 "$state/postgres.password" "$state/postgres/password"
		as postgres "$postgres/initdb" -D "$data.new" --username waybill --pwfile "$state/postgres/password" --auth scram-sha-256 --data-checksums \
			--encoding UTF8 --lc-collate C --lc-ctype C.UTF-8 >>"$log/postgres.log"
		rm "$state/postgres/password"
		echo "host all all 10.212.0.0/16 scram-sha-256" >>"$data.new/pg_hba.conf"
		mv "$data.new" "$data"
	fi
	ensure postgres postgres_ready setpriv --reuid postgres --regid postgres --clear-groups -- "$postgres/postgres" -D "$data" \
		-c listen_addresses="$node" -c port=5432 -c unix_socket_directories= -c max_connections=300 -c shared_buffers=256MB -c shared_preload_libraries=pg_stat_statements
}

redis_ready() { listens "$node" 6379; }
start_redis() {
	password redis
	install -d -o redis -g redis -m 700 "$state/redis"
	put "$state/redis.conf" <<-END
		bind $node
		port 6379
		requirepass $(cat "$state/redis.password")
		dir $state/redis
		appendonly yes
		maxmemory 256mb
		maxmemory-policy volatile-lru
	END
	chown redis "$state/redis.conf"
	chmod 600 "$state/redis.conf"
	ensure redis redis_ready setpriv --reuid redis --regid redis --clear-groups -- redis-server "$state/redis.conf"
}

# Object storage is not part of every cluster: its program is built when it is asked for.
s3_ready() { listens "$node" 9000; }
start_s3() {
	local bin
	bin=$(hack/tools.sh s3)
	password s3
	install -d -m 700 "$state/s3"
	install -d "$state/s3/filestores" # a folder is a bucket
	# In a shell of its own: nobody else gets the password, and nobody sees it among the processes.
	(
		ROOT_ACCESS_KEY=waybill ROOT_SECRET_KEY=$(cat "$state/s3.password")
		export ROOT_ACCESS_KEY ROOT_SECRET_KEY
		ensure s3 s3_ready "$bin/versitygw" --quiet --port "$node:9000" posix "$state/s3"
	)
}

# image PROGRAM REPOSITORY pushes a static program of this machine, and prints the reference by digest.
image() { "$state/bin/image" -password "$state/registry.password" -binary "$1" -path "/$(basename "$1")" "$node:5000/$2:latest"; }

containerd_ready() { [ -S "$run/containerd.sock" ] && ctr -a "$run/containerd.sock" version >/dev/null 2>&1; }
start_containerd() {
	local restrict=true pause
	# A process without CAP_SYS_RESOURCE (bit 24) may not make another one less likely to be killed.
	[ $((16#$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status) >> 24 & 1)) = 0 ] || restrict=false
	pause=$(image "$state/bin/pause" pause)
	mkdir -p "$state/registries/$node:5000" "$state/cni/net.d"
	put "$state/registries/$node:5000/hosts.toml" <<-END
		server = "http://$node:5000"
		[host."http://$node:5000"]
		  capabilities = ["pull", "resolve"]
	END
	put "$state/cni/net.d/10-waybill.conflist" <<-END
		{"cniVersion": "1.0.0", "name": "waybill", "plugins": [{"type": "ptp", "ipam": {
			"type": "host-local", "subnet": "$pods", "dataDir": "$run/ipam", "routes": [{"dst": "0.0.0.0/0"}]}}]}
	END
	put "$state/containerd.toml" <<-END
		version = 2
		root = "$state/containerd"
		state = "$run/containerd"
		oom_score = 0
		[grpc]
		  address = "$run/containerd.sock"
		[plugins."io.containerd.internal.v1.opt"]
		  path = "$state/opt"
		[plugins."io.containerd.grpc.v1.cri"]
		  sandbox_image = "$pause"
		  restrict_oom_score_adj = $restrict
		  netns_mounts_under_state_dir = true
		  [plugins."io.containerd.grpc.v1.cri".cni]
		    bin_dir = "/usr/lib/cni"
		    conf_dir = "$state/cni/net.d"
		  [plugins."io.containerd.grpc.v1.cri".registry]
		    config_path = "$state/registries"
		  [plugins."io.containerd.grpc.v1.cri".containerd]
		    default_runtime_name = "runc"
		    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
		      runtime_type = "io.containerd.runc.v2"
		      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
		        SystemdCgroup = false
	END
	ensure containerd containerd_ready containerd --config "$state/containerd.toml" --log-level warn
}

node_ready() { [ "$(kube get node waybill -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null)" = True ]; }
start_kubelet() {
	# Folders that kubelet and CNI have by name, and that go again where they were not there before.
	local folder
	for folder in /var/lib/kubelet /var/log/containers /var/lib/cni; do
		[ -e "$folder" ] || printf '%s\n' "$folder" >>"$run/folders"
	done
	put "$state/kubelet.yaml" <<-END
		apiVersion: kubelet.config.k8s.io/v1beta1
		kind: KubeletConfiguration
		address: $node
		authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $pki/ca.crt}}
		authorization: {mode: Webhook}
		tlsCertFile: $pki/kubelet-serving.crt
		tlsPrivateKeyFile: $pki/kubelet-serving.key
		containerRuntimeEndpoint: unix://$run/containerd.sock
		cgroupDriver: cgroupfs
		cgroupRoot: /$cgroup
		failCgroupV1: false
		failSwapOn: false
		localStorageCapacityIsolation: false
		makeIPTablesUtilChains: false
		oomScoreAdj: 0
		maxPods: 240
		registryPullQPS: 0
		serializeImagePulls: false
		imageGCHighThresholdPercent: 100
		evictionHard: {memory.available: 100Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%, imagefs.inodesFree: 1%}
		podLogsDir: $state/pod-logs
		volumePluginDir: $state/volume-plugins
		nodeStatusUpdateFrequency: 5s
	END
	ensure kubelet node_ready "$tools/kubelet" --config "$state/kubelet.yaml" --kubeconfig "$pki/kubelet.kubeconfig" --hostname-override waybill \
		--node-ip "$node" --root-dir "$state/kubelet" --cert-dir "$state/pki-own"
}

proxy_ready() { listens 127.0.0.1 10256; }
start_proxy() {
	put "$state/proxy.yaml" <<-END
		apiVersion: kubeproxy.config.k8s.io/v1alpha1
		kind: KubeProxyConfiguration
		mode: iptables
		hostnameOverride: waybill
		bindAddress: $node
		healthzBindAddress: 127.0.0.1:10256
		metricsBindAddress: 127.0.0.1:10249
		clusterCIDR: $pods
		clientConnection: {kubeconfig: $pki/proxy.kubeconfig}
		conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
		iptables: {localhostNodePorts: false, minSyncPeriod: 200ms}
		oomScoreAdj: 0
	END
	ensure kube-proxy proxy_ready "$tools/kube-proxy" --config "$state/proxy.yaml"
}

policies_ready() { nft list table ip waybill-policies >/dev/null 2>&1; }
start_agent() {
	kube apply --server-side -f - >/dev/null <<-END
		apiVersion: rbac.authorization.k8s.io/v1
		kind: ClusterRole
		metadata: {name: waybill:policy-agent}
		rules:
		- {apiGroups: [""], resources: [namespaces, pods], verbs: [get, list, watch]}
		- {apiGroups: [networking.k8s.io], resources: [networkpolicies], verbs: [get, list, watch]}
		---
		apiVersion: rbac.authorization.k8s.io/v1
		kind: ClusterRoleBinding
		metadata: {name: waybill:policy-agent}
		roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: waybill:policy-agent}
		subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: waybill:policy-agent}]
	END
	ensure policies policies_ready "$state/bin/agent" -kubeconfig "$pki/agent.kubeconfig"
}

# A folder of the node, for filestores; whoever uses it makes entries of the same volume for its namespaces.
make_volume() {
	mkdir -p "$state/volume"
	kube apply --server-side -f - >/dev/null <<-END
		apiVersion: v1
		kind: PersistentVolume
		metadata: {name: filestores}
		spec:
		  capacity: {storage: 50Gi}
		  accessModes: [ReadWriteMany]
		  persistentVolumeReclaimPolicy: Retain
		  storageClassName: ""
		  hostPath: {path: $state/volume, type: Directory}
	END
}

traefik_ready() { listens "$node" $web_port && kube -n traefik wait --for=condition=Available deployment/traefik --timeout=1s >/dev/null 2>&1; }
start_traefik() {
	local ref start=$SECONDS
	ref=$(image "$traefik/traefik" traefik)
	kube apply --server-side -f "$traefik/crds.yml" >/dev/null
	kube apply --server-side -f - >/dev/null <<-END
		apiVersion: v1
		kind: Namespace
		metadata: {name: traefik, labels: {pod-security.kubernetes.io/enforce: restricted}}
		---
		apiVersion: v1
		kind: ServiceAccount
		metadata: {name: traefik, namespace: traefik}
		---
		apiVersion: rbac.authorization.k8s.io/v1
		kind: ClusterRole
		metadata: {name: waybill:traefik}
		rules:
		- {apiGroups: [""], resources: [services, secrets, nodes, configmaps, namespaces], verbs: [get, list, watch]}
		- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [get, list, watch]}
		- {apiGroups: [traefik.io], resources: ["*"], verbs: [get, list, watch]}
		---
		apiVersion: rbac.authorization.k8s.io/v1
		kind: ClusterRoleBinding
		metadata: {name: waybill:traefik}
		roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: waybill:traefik}
		subjects: [{kind: ServiceAccount, name: traefik, namespace: traefik}]
		---
		apiVersion: apps/v1
		kind: Deployment
		metadata: {name: traefik, namespace: traefik}
		spec:
		  selector: {matchLabels: {app: traefik}}
		  template:
		    metadata: {labels: {app: traefik}}
		    spec:
		      serviceAccountName: traefik
		      containers:
		      - name: traefik
		        image: $ref
		        command: [/traefik]
		        args: [--providers.kubernetescrd, "--entrypoints.web.address=:8000", "--entrypoints.ping.address=:8081", --ping, --ping.entrypoint=ping,
		          --global.checknewversion=false, --global.sendanonymoususage=false, --log.level=INFO]
		        readinessProbe: {httpGet: {path: /ping, port: 8081}, periodSeconds: 1}
		        resources: {requests: {cpu: 50m, memory: 64Mi}}
		        securityContext: {runAsNonRoot: true, runAsUser: 65532, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}
		---
		apiVersion: v1
		kind: Service
		metadata: {name: traefik, namespace: traefik}
		spec:
		  type: NodePort
		  selector: {app: traefik}
		  ports: [{name: web, port: 80, targetPort: 8000, nodePort: $web_port}]
	END
	until traefik_ready; do
		[ $((SECONDS - start)) -lt 120 ] || die "traefik is not ready after two minutes:
$(kube -n traefik get pods -o wide; kube -n traefik logs deployment/traefik --tail 15 2>&1)"
		sleep 0.2
	done
	say "traefik: ready after $((SECONDS - start)) s"
}

# Neither is the metrics server: most tests want autoscalers that measure nothing.
metrics_ready() { kube get --raw /apis/metrics.k8s.io/v1beta1/namespaces/traefik/pods 2>/dev/null | grep -q '"cpu"'; }
start_metrics() {
	local bin ref start
	bin=$(hack/tools.sh metrics)
	tools=$(hack/tools.sh kube)
	start=$SECONDS
	ref=$(image "$bin/metrics-server" metrics-server)
	kube apply --server-side -f - >/dev/null <<-END
		apiVersion: v1
		kind: ServiceAccount
		metadata: {name: metrics-server, namespace: kube-system}
		---
		apiVersion: rbac.authorization.k8s.io/v1
		kind: ClusterRole
		metadata: {name: waybill:metrics-server}
		rules:
		- {apiGroups: [""], resources: [nodes/metrics], verbs: [get]}
		- {apiGroups: [""], resources: [nodes, pods], verbs: [get, list, watch]}
		---
		apiVersion: rbac.authorization.k8s.io/v1
		kind: ClusterRoleBinding
		metadata: {name: waybill:metrics-server}
		roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: waybill:metrics-server}
		subjects: [{kind: ServiceAccount, name: metrics-server, namespace: kube-system}]
		---
		apiVersion: rbac.authorization.k8s.io/v1
		kind: ClusterRoleBinding
		metadata: {name: waybill:metrics-server-asks-who}
		roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:auth-delegator}
		subjects: [{kind: ServiceAccount, name: metrics-server, namespace: kube-system}]
		---
		apiVersion: rbac.authorization.k8s.io/v1
		kind: RoleBinding
		metadata: {name: waybill:metrics-server, namespace: kube-system}
		roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: extension-apiserver-authentication-reader}
		subjects: [{kind: ServiceAccount, name: metrics-server, namespace: kube-system}]
		---
		apiVersion: apps/v1
		kind: Deployment
		metadata: {name: metrics-server, namespace: kube-system}
		spec:
		  selector: {matchLabels: {app: metrics-server}}
		  template:
		    metadata: {labels: {app: metrics-server}}
		    spec:
		      serviceAccountName: metrics-server
		      containers:
		      - name: metrics-server
		        image: $ref
		        command: [/metrics-server]
		        args: [--cert-dir=/certificates, --secure-port=4443, --metric-resolution=10s, --kubelet-request-timeout=5s, --kubelet-preferred-address-types=InternalIP,
		          --kubelet-use-node-status-port, --kubelet-certificate-authority=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt]
		        resources: {requests: {cpu: 20m, memory: 64Mi}}
		        volumeMounts: [{name: certificates, mountPath: /certificates}]
		        securityContext: {runAsNonRoot: true, runAsUser: 65532, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}
		      volumes: [{name: certificates, emptyDir: {}}]
		---
		apiVersion: v1
		kind: Service
		metadata: {name: metrics-server, namespace: kube-system}
		spec:
		  selector: {app: metrics-server}
		  ports: [{port: 443, targetPort: 4443}]
		---
		apiVersion: apiregistration.k8s.io/v1
		kind: APIService
		metadata: {name: v1beta1.metrics.k8s.io}
		spec: {group: metrics.k8s.io, version: v1beta1, groupPriorityMinimum: 100, versionPriority: 100, insecureSkipTLSVerify: true, service: {name: metrics-server, namespace: kube-system}}
	END
	until metrics_ready; do
		[ $((SECONDS - start)) -lt 120 ] || die "the metrics server tells nothing after two minutes:
$(kube get apiservice v1beta1.metrics.k8s.io -o yaml; kube -n kube-system get pods -o wide; kube -n kube-system logs deployment/metrics-server --tail 15 2>&1)"
		sleep 0.2
	done
	say "metrics: ready after $((SECONDS - start)) s"
}

# --- The commands -----------------------------------------------------------------------------------

need_root() { [ "$(id -u)" = 0 ] || die "a cluster on this machine takes root: run it as root, or use a cluster that you have (docs/kubernetes.md)"; }

up() {
	local start=$SECONDS
	need_root
	hack/setup.sh packages cluster postgresql redis
	tools_of_cluster
	mkdir -p "$state" "$log" "$run"
	chmod 711 "$state"
	make_network
	make_cgroup
	"$state/bin/pki" -dir "$pki" -node "$node" -service "$api_service"
	start_registry
	start_postgres
	start_redis
	start_etcd
	start_api
	start_manager
	start_scheduler
	start_containerd
	start_kubelet
	start_proxy
	start_agent
	make_volume
	start_traefik
	kube get nodes -o wide >&2
	say "up after $((SECONDS - start)) s; kubeconfig: $pki/admin.kubeconfig"
	say "eval \"\$(hack/cluster.sh env)\" sets KUBECONFIG and the rest; stop it: hack/cluster.sh down"
}

down() {
	local name pid line mounted folder
	need_root
	if [ ! -e "$state" ] && [ ! -e "$run" ]; then
		say "no cluster was started here; nothing to stop"
		return 0
	fi
	proxy=$(find "$cache/tools" -name kube-proxy -perm -u+x -print -quit 2>/dev/null)
	for name in policies kube-proxy kubelet kube-scheduler kube-controller-manager kube-apiserver etcd registry redis s3; do
		finish "$name"
	done
	if name=$(running postgres); then kill -INT "$name"; fi # connections are cut; it stops well
	finish postgres
	# Pods: what runs in them is in our cgroup, and the shims name our socket.
	drop_cgroup
	finish containerd
	for pid in /proc/[0-9]*; do
		line=$(tr '\0' ' ' 2>/dev/null <"$pid/cmdline") || continue
		case "$line" in *containerd-shim*"$run/"*)
			kill -KILL "${pid#/proc/}" 2>/dev/null || true
			await_end "${pid#/proc/}" 10 || say "process ${pid#/proc/} does not end"
			;;
		esac
	done
	drop_cgroup
	awk -v a="$run/" -v b="$state/" '{ gsub(/\\040/, " ", $5) } index($5, a) == 1 || index($5, b) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
		while read -r mounted; do umount -l "$mounted"; done
	drop_network
	if [ -d /var/log/containers ]; then
		find /var/log/containers -maxdepth 1 -lname "$state/*" -delete
	fi
	if [ -r "$run/folders" ]; then
		while read -r folder; do rm -rf --one-file-system -- "$folder"; done <"$run/folders"
	fi
	rm -rf --one-file-system -- "$state" "$run"
	say "stopped; what was built stays in $cache/tools"
}

env_lines() {
	running kube-apiserver >/dev/null || die "no cluster runs here: make cluster"
	printf 'export KUBECONFIG=%s/admin.kubeconfig\n' "$pki"
	printf 'export WAYBILL_KUBE_NODE=%s\n' "$node"
	printf 'export WAYBILL_KUBE_REGISTRY=%s:5000\n' "$node"
	printf 'export WAYBILL_KUBE_REGISTRY_PASSWORD=%s\n' "$(cat "$state/registry.password")"
	printf 'export WAYBILL_KUBE_POSTGRES=postgres://waybill@%s:5432\n' "$node"
	printf 'export WAYBILL_KUBE_POSTGRES_PASSWORD=%s\n' "$(cat "$state/postgres.password")"
	printf 'export WAYBILL_KUBE_REDIS=redis://%s:6379/0\n' "$node"
	printf 'export WAYBILL_KUBE_REDIS_PASSWORD=%s\n' "$(cat "$state/redis.password")"
	if running s3 >/dev/null; then
		printf 'export WAYBILL_KUBE_FILESTORES="s3://filestores?region=us-east-1&use_path_style=true&endpoint=http://%s:9000"\n' "$node"
		printf 'export AWS_ACCESS_KEY_ID=waybill\n'
		printf 'export AWS_SECRET_ACCESS_KEY=%s\n' "$(cat "$state/s3.password")"
	fi
	printf 'export WAYBILL_KUBE_TRAEFIK=%s:%s\n' "$node" "$web_port"
	printf 'export WAYBILL_KUBE_PODS=%s\n' "$all_pods"
	printf 'export WAYBILL_KUBE_VOLUME=filestores\n'
	printf 'export WAYBILL_KUBE_VOLUME_FOLDER=%s/volume\n' "$state"
}

status() {
	local name bad=0
	for name in etcd kube-apiserver kube-controller-manager kube-scheduler containerd kubelet kube-proxy policies registry postgres redis; do
		if running "$name" >/dev/null; then say "$name: runs ($(running "$name"))"; else
			say "$name: does not run"
			bad=1
		fi
	done
	return $bad
}

# part_known refuses what is none of the parts that a test may take away.
part_known() {
	case "${1:-}" in
	kubelet | kube-apiserver | postgres | redis) ;;
	*) die "usage: hack/cluster.sh kill|start kubelet|kube-apiserver|postgres|redis" ;;
	esac
}

kill_part() {
	local pid
	part_known "$@"
	pid=$(running "$1") || die "$1 does not run"
	kill -KILL "$pid"
	await_end "$pid" 10 || die "process $pid ($1) cannot be killed"
}

start_part() {
	part_known "$@"
	tools=$(hack/tools.sh kube)
	case $1 in
	kube-apiserver) start_api ;;
	*) "start_$1" ;;
	esac
}

# locked runs a command while no other one on this cluster runs.
locked() {
	exec 9>/run/waybill-cluster.lock
	flock -w 1800 9 || die "another hack/cluster.sh has been running for half an hour; wait for it or end it"
	"$@"
}

case "${1:-}" in
tools) need_root && locked tools_of_cluster ;;
s3) running kube-apiserver >/dev/null || die "no cluster runs here: make cluster"; locked start_s3 ;;
metrics) running kube-apiserver >/dev/null || die "no cluster runs here: make cluster"; locked start_metrics ;;
up) locked up ;;
down) locked down ;;
env) env_lines ;;
status) status ;;
kill) locked kill_part "${2:-}" ;;
start) locked start_part "${2:-}" ;;
*)
	echo "usage: hack/cluster.sh up|tools|s3|metrics|env|status|down|kill PART|start PART" >&2
	exit 2
	;;
esac
