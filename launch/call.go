package launch

import "golang.org/x/sys/unix"

// Call is a system call, or a step of the walker itself.
type Call struct {
	Name string
	nr   uintptr
	step stepKind
}

type stepKind uint8

const (
	stepSyscall  stepKind = iota
	stepCheck             // compare memory with what is expected
	stepFork              // go on in a second child
	stepReport            // report failures to another descriptor
	stepLoad              // take a descriptor out of a received message
	stepAnnounce          // tell the parent how far the program is
	stepReady             // tell the parent that only the execve is left
	stepSpawn             // do a few steps in a process aside
	stepPlace             // find or make the place of a mount
	stepCopyTree          // copy a directory
	stepShed              // run from another view of the program's file
)

// The system calls that programs are made of.
var (
	Accept4       = Call{Name: "accept4", nr: unix.SYS_ACCEPT4}
	Capset        = Call{Name: "capset", nr: unix.SYS_CAPSET}
	Chdir         = Call{Name: "chdir", nr: unix.SYS_CHDIR}
	Chroot        = Call{Name: "chroot", nr: unix.SYS_CHROOT}
	Close         = Call{Name: "close", nr: unix.SYS_CLOSE}
	CloseRange    = Call{Name: "close_range", nr: unix.SYS_CLOSE_RANGE}
	Dup3          = Call{Name: "dup3", nr: unix.SYS_DUP3}
	Execve        = Call{Name: "execve", nr: unix.SYS_EXECVE}
	Execveat      = Call{Name: "execveat", nr: unix.SYS_EXECVEAT}
	Faccessat2    = Call{Name: "faccessat2", nr: unix.SYS_FACCESSAT2}
	Fchdir        = Call{Name: "fchdir", nr: unix.SYS_FCHDIR}
	Fchmodat      = Call{Name: "fchmodat", nr: unix.SYS_FCHMODAT}
	Fchown        = Call{Name: "fchown", nr: unix.SYS_FCHOWN}
	Fchownat      = Call{Name: "fchownat", nr: unix.SYS_FCHOWNAT}
	Fcntl         = Call{Name: "fcntl", nr: unix.SYS_FCNTL}
	Fsconfig      = Call{Name: "fsconfig", nr: unix.SYS_FSCONFIG}
	Fsmount       = Call{Name: "fsmount", nr: unix.SYS_FSMOUNT}
	Fsopen        = Call{Name: "fsopen", nr: unix.SYS_FSOPEN}
	Fsetxattr     = Call{Name: "fsetxattr", nr: unix.SYS_FSETXATTR}
	Fspick        = Call{Name: "fspick", nr: unix.SYS_FSPICK}
	Fstatfs       = Call{Name: "fstatfs", nr: unix.SYS_FSTATFS}
	Ioctl         = Call{Name: "ioctl", nr: unix.SYS_IOCTL}
	LandlockAdd   = Call{Name: "landlock_add_rule", nr: unix.SYS_LANDLOCK_ADD_RULE}
	LandlockMake  = Call{Name: "landlock_create_ruleset", nr: unix.SYS_LANDLOCK_CREATE_RULESET}
	LandlockSelf  = Call{Name: "landlock_restrict_self", nr: unix.SYS_LANDLOCK_RESTRICT_SELF}
	Lseek         = Call{Name: "lseek", nr: unix.SYS_LSEEK}
	Mkdirat       = Call{Name: "mkdirat", nr: unix.SYS_MKDIRAT}
	Mknodat       = Call{Name: "mknodat", nr: unix.SYS_MKNODAT}
	MountSetattr  = Call{Name: "mount_setattr", nr: unix.SYS_MOUNT_SETATTR}
	MoveMount     = Call{Name: "move_mount", nr: unix.SYS_MOVE_MOUNT}
	OpenTree      = Call{Name: "open_tree", nr: unix.SYS_OPEN_TREE}
	Openat        = Call{Name: "openat", nr: unix.SYS_OPENAT}
	Openat2       = Call{Name: "openat2", nr: unix.SYS_OPENAT2}
	Personality   = Call{Name: "personality", nr: unix.SYS_PERSONALITY}
	PivotRoot     = Call{Name: "pivot_root", nr: unix.SYS_PIVOT_ROOT}
	Prctl         = Call{Name: "prctl", nr: unix.SYS_PRCTL}
	Prlimit       = Call{Name: "prlimit64", nr: unix.SYS_PRLIMIT64}
	Keyctl        = Call{Name: "keyctl", nr: unix.SYS_KEYCTL}
	Recvfrom      = Call{Name: "recvfrom", nr: unix.SYS_RECVFROM}
	Recvmsg       = Call{Name: "recvmsg", nr: unix.SYS_RECVMSG}
	SetAffinity   = Call{Name: "sched_setaffinity", nr: unix.SYS_SCHED_SETAFFINITY}
	Seccomp       = Call{Name: "seccomp", nr: unix.SYS_SECCOMP}
	Sendmsg       = Call{Name: "sendmsg", nr: unix.SYS_SENDMSG}
	SetMempolicy  = Call{Name: "set_mempolicy", nr: unix.SYS_SET_MEMPOLICY}
	Setdomainname = Call{Name: "setdomainname", nr: unix.SYS_SETDOMAINNAME}
	Setgroups     = Call{Name: "setgroups", nr: unix.SYS_SETGROUPS}
	Sethostname   = Call{Name: "sethostname", nr: unix.SYS_SETHOSTNAME}
	Setitimer     = Call{Name: "setitimer", nr: unix.SYS_SETITIMER}
	Setns         = Call{Name: "setns", nr: unix.SYS_SETNS}
	Setresgid     = Call{Name: "setresgid", nr: unix.SYS_SETRESGID}
	Setresuid     = Call{Name: "setresuid", nr: unix.SYS_SETRESUID}
	Setsid        = Call{Name: "setsid", nr: unix.SYS_SETSID}
	Sigaction     = Call{Name: "rt_sigaction", nr: unix.SYS_RT_SIGACTION}
	Sigprocmask   = Call{Name: "rt_sigprocmask", nr: unix.SYS_RT_SIGPROCMASK}
	Socket        = Call{Name: "socket", nr: unix.SYS_SOCKET}
	Statx         = Call{Name: "statx", nr: unix.SYS_STATX}
	Symlinkat     = Call{Name: "symlinkat", nr: unix.SYS_SYMLINKAT}
	Umask         = Call{Name: "umask", nr: unix.SYS_UMASK}
	Umount2       = Call{Name: "umount2", nr: unix.SYS_UMOUNT2}
	Unshare       = Call{Name: "unshare", nr: unix.SYS_UNSHARE}
	Wait4         = Call{Name: "wait4", nr: unix.SYS_WAIT4}
	Write         = Call{Name: "write", nr: unix.SYS_WRITE}
)

// Steps of the walker.
var (
	// Check fails with the errno of its third argument unless the 64-bit
	// word at the byte offset of its second argument, in the Buffer of its
	// first, has under the mask of its fourth the value of its fifth.
	Check = Call{Name: "check", step: stepCheck}
	// Load has as its result the 32-bit word at the byte offset of its second
	// argument in the Buffer of its first.
	Load = Call{Name: "load", step: stepLoad}
	// Announce tells the parent that the program came this far.
	Announce = Call{Name: "announce", step: stepAnnounce}
	// Fork goes on in a second child with the CLONE_ flags of its argument, a
	// sibling of the first one, which tells the parent the new process id and
	// ends. It is how a process enters a pid namespace that it joined.
	Fork = Call{Name: "fork", step: stepFork, nr: unix.SYS_CLONE}
	// ReportTo sends what fails from here on to the descriptor in its
	// argument.
	ReportTo = Call{Name: "report_to", step: stepReport}
	// Ready tells the parent that only the execve is left to do. Without it
	// the first execve does so, which a seccomp filter may not let it.
	Ready = Call{Name: "ready", step: stepReady}
	// Spawn makes a process aside, a child of this one, that walks the
	// following operations up to Skip and has to end them with an execve of
	// its own. This process leaves them out; the result is the other's id.
	Spawn = Call{Name: "spawn", step: stepSpawn}
	// Shed makes the process run from the descriptor in its argument, another
	// view of the very file that this program was started from.
	Shed = Call{Name: "shed", step: stepShed}
	// Place has as its result an O_PATH descriptor of the path of its second
	// argument below the directory of its first, and makes what is missing: a
	// directory or an empty file, as the kind in its third says (S_IFDIR or
	// S_IFREG, with the mode), and the directories to it. Symbolic links stay
	// below the first directory, also those that name nothing yet; when the
	// fourth argument is not 0 they are refused.
	Place = Call{Name: "place", step: stepPlace}
	// CopyTree copies the content of the directory of its first argument to
	// that of its second, and what the directory itself has: owner, mode, times
	// and extended attributes.
	CopyTree = Call{Name: "copy_tree", step: stepCopyTree}
)
