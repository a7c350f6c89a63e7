#compdef lope
_lope() {
	local i command= flags=
	local -a root
	for ((i = 2; i < CURRENT; i++)); do
		case ${words[i]} in
		--root) root=(--root "${words[++i]}") ;;
		--log | --log-format | --cgroup-manager | --rootless | --criu) ((i++)) ;;
		-*) ;;
		*) command=${words[i]}; break ;;
		esac
	done
	case $command in
	'') flags="--root --log --log-format --debug --systemd-cgroup --cgroup-manager --rootless --criu --version --help" ;;
	create) flags="--bundle --console-socket --pid-file --pidfd-socket --preserve-fds --no-pivot --no-new-keyring --no-subreaper --help" ;;
	start) flags="--help" ;;
	run) flags="--bundle --console-socket --pid-file --pidfd-socket --preserve-fds --no-pivot --no-new-keyring --no-subreaper --detach --keep --help" ;;
	exec) flags="--process --cwd --user --env --cap --additional-gids --tty --detach --apparmor --process-label --no-new-privs --cgroup --ignore-paused --console-socket --pid-file --pidfd-socket --preserve-fds --help" ;;
	state) flags="--help" ;;
	kill) flags="--all --help" ;;
	delete) flags="--force --help" ;;
	pause) flags="--help" ;;
	resume) flags="--help" ;;
	update) flags="--resources --blkio-weight --cpu-period --cpu-quota --cpu-burst --cpu-share --cpu-rt-period --cpu-rt-runtime --cpu-idle --cpuset-cpus --cpuset-mems --memory --memory-reservation --memory-swap --pids-limit --l3-cache-schema --mem-bw-schema --help" ;;
	ps) flags="--format --help" ;;
	events) flags="--interval --stats --help" ;;
	mounts) flags="--help" ;;
	checkpoint) flags="--image-path --work-path --parent-path --tcp-established --ext-unix-sk --shell-job --lazy-pages --file-locks --manage-cgroups-mode --empty-ns --auto-dedup --leave-running --pre-dump --tcp-skip-in-flight --link-remap --status-fd --page-server --help" ;;
	restore) flags="--bundle --console-socket --pid-file --pidfd-socket --preserve-fds --no-pivot --no-new-keyring --no-subreaper --detach --keep --image-path --work-path --parent-path --tcp-established --ext-unix-sk --shell-job --lazy-pages --file-locks --manage-cgroups-mode --empty-ns --auto-dedup --lsm-profile --lsm-mount-context --help" ;;
	list) flags="--format --quiet --help" ;;
	spec) flags="--bundle --rootless --help" ;;
	features) flags="--help" ;;
	plan) flags="--format --help" ;;
	esac
	if [[ ${words[CURRENT]} == -* ]]; then
		compadd -- ${=flags}
	elif [[ -z $command ]]; then
		compadd -- create start run exec state kill delete pause resume update ps events mounts checkpoint restore list spec features plan
	else
		compadd -- ${=$(lope $root list --quiet 2>/dev/null)}
		_files
	fi
}
_lope "$@"
