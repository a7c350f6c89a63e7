// Compiles a profile with libseccomp, for comparison. Reads lines:
//   default ACTION | optimize | arch TOKEN | rule ACTION NAME [ARG OP A B]... | numbers TOKEN NAME
// with numbers in C notation; "numbers" prints a call's number at once, the
// others end in a program on standard output.
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what, int rc) {
	fprintf(stderr, "%s: %s\n", what, strerror(-rc));
	exit(1);
}

int main(void) {
	static char line[4096];
	scmp_filter_ctx ctx = NULL;
	int native = 0, rc;
	while (fgets(line, sizeof line, stdin)) {
		char *w = strtok(line, " \n");
		if (!w)
			continue;
		if (!strcmp(w, "numbers")) {
			unsigned arch = strtoul(strtok(NULL, " \n"), NULL, 0);
			char *name = strtok(NULL, " \n");
			printf("%d\n", seccomp_syscall_resolve_name_arch(arch, name));
		} else if (!strcmp(w, "default")) {
			ctx = seccomp_init(strtoul(strtok(NULL, " \n"), NULL, 0));
			if (!ctx)
				die("init", 0);
			if ((rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS)))
				die("badarch", rc);
		} else if (!strcmp(w, "optimize")) {
			if ((rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2)))
				die("optimize", rc);
		} else if (!strcmp(w, "arch")) {
			unsigned arch = strtoul(strtok(NULL, " \n"), NULL, 0);
			// The first is the machine's own, whatever this machine is.
			if (!native)
				seccomp_arch_remove(ctx, seccomp_arch_native());
			native = 1;
			if ((rc = seccomp_arch_add(ctx, arch)))
				die("arch", rc);
		} else if (!strcmp(w, "rule")) {
			struct scmp_arg_cmp c[6];
			unsigned n = 0;
			unsigned act = strtoul(strtok(NULL, " \n"), NULL, 0);
			char *name = strtok(NULL, " \n"), *t;
			while ((t = strtok(NULL, " \n"))) {
				c[n].arg = strtoul(t, NULL, 0);
				c[n].op = strtoul(strtok(NULL, " \n"), NULL, 0);
				c[n].datum_a = strtoull(strtok(NULL, " \n"), NULL, 0);
				c[n].datum_b = strtoull(strtok(NULL, " \n"), NULL, 0);
				n++;
			}
			int nr = seccomp_syscall_resolve_name(name);
			if (nr == __NR_SCMP_ERROR)
				die(name, 0);
			rc = seccomp_rule_add_array(ctx, act, nr, n, c);
			if (rc == -17) // EEXIST: the rule was dropped on every architecture
				exit(3);
			if (rc)
				die(name, rc);
		}
	}
	if (ctx && (rc = seccomp_export_bpf(ctx, 1)))
		die("export", rc);
	return 0;
}
