package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"loper.run/image"
	"loper.run/image/registry"
	"loper.run/internal/version"
)

// loginFlags is what login was asked for.
type loginFlags struct {
	user, password string
	stdin, get     bool
	where          registryFlags
}

// registryFlags is how a command reaches a registry that it names.
type registryFlags struct {
	authfile, certs string
	verify          bool
}

func (r *registryFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.authfile, "authfile", "", "File with credentials, in place of all others")
	f.StringVar(&r.certs, "cert-dir", "", "Directory with certificates for the registry, in place of certs.d")
	f.BoolVar(&r.verify, "tls-verify", true, "Want HTTPS and a certificate that is trusted")
}

// registryAccess is registryFlags, and what to log in with for this once.
type registryAccess struct {
	registryFlags
	creds string
}

func (r *registryAccess) add(cmd *cobra.Command) {
	r.registryFlags.add(cmd)
	cmd.Flags().StringVar(&r.creds, "creds", "", "What to log in with for this once, as in USER:PASSWORD")
}

// access is the same for whatever the store does with registries. creds is
// USER[:PASSWORD], or nothing.
func (r *registryFlags) access(creds string) image.Access {
	a := image.Access{AuthFile: r.authfile, CertDir: r.certs, Insecure: !r.verify}
	a.Login.Username, a.Login.Password, _ = strings.Cut(creds, ":")
	return a
}

// client returns a client for a registry.
func (r *registryFlags) client(domain string) (*registry.Client, error) {
	client, err := registry.New(domain)
	if err != nil {
		return nil, err
	}
	client.UserAgent, client.Insecure, client.CertDir = "loper/"+version.String(), !r.verify, r.certs
	client.Credentials = func(domain, path string) (registry.Credential, error) {
		return registry.CredentialsFrom(r.authfile, domain, path)
	}
	return client, nil
}

func newLogin(c *cli) *cobra.Command {
	var l loginFlags
	cmd := &cobra.Command{
		Use:   "login [OPTIONS] [SERVER]",
		Short: "Log in to a registry",
		Long: "Log in to a registry; Docker Hub without an argument. The registry is asked whether it takes the\n" +
			"credentials before they are kept: where it has an entry already, else in Docker's config.json when\n" +
			"DOCKER_CONFIG is set or config.json has a credsStore, else in Podman's auth.json.",
		Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := registry.Server(strings.Join(args, ""))
			if err != nil {
				return err
			}
			if l.get {
				return c.showLogin(server, l.where.authfile)
			}
			return c.login(cmd.Context(), server, &l)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&l.user, "username", "u", "", "User name")
	f.StringVarP(&l.password, "password", "p", "", "Password or access token")
	f.BoolVar(&l.stdin, "password-stdin", false, "Read the password from standard input")
	f.BoolVar(&l.get, "get-login", false, "Only show who is logged in")
	l.where.add(cmd)
	return cmd
}

func (c *cli) showLogin(server, authfile string) error {
	domain, path, _ := strings.Cut(server, "/")
	cred, err := registry.CredentialsFrom(authfile, domain, path)
	if err != nil {
		return err
	}
	if cred == (registry.Credential{}) {
		return fmt.Errorf("not logged into %s", server)
	}
	if cred.Username == "" {
		cred.Username = "<token>"
	}
	fmt.Fprintln(c.out, cred.Username)
	return nil
}

func (c *cli) login(ctx context.Context, server string, l *loginFlags) error {
	domain, path, _ := strings.Cut(server, "/")
	client, err := l.where.client(domain)
	if err != nil {
		return err
	}
	defer client.Close()
	if l.user == "" && l.password == "" && !l.stdin {
		cred, err := registry.CredentialsFrom(l.where.authfile, domain, path)
		if err != nil {
			return err
		}
		if cred != (registry.Credential{}) {
			fmt.Fprintln(c.err, "Authenticating with existing credentials...")
			_, err := client.Check(ctx, cred)
			if err == nil {
				fmt.Fprintln(c.out, "Login Succeeded")
				return nil
			}
			if !errors.Is(err, registry.ErrUnauthorized) || !isTerminal(c.in) {
				return fmt.Errorf("login %s: %w", server, err)
			}
			c.warn("%v", err)
		}
	}
	if err := c.askLogin(l); err != nil {
		return err
	}
	cred, err := client.Check(ctx, registry.Credential{Username: l.user, Password: l.password})
	if err != nil {
		return fmt.Errorf("login %s: %w", server, err)
	}
	where, plain, err := registry.Keep(server, cred, l.where.authfile)
	if err != nil {
		return fmt.Errorf("login %s: %w", server, err)
	}
	if plain && cred.IdentityToken == "" {
		fmt.Fprintf(c.err, "\nWARNING! Your password is stored unencrypted in '%s'.\nConfigure a credential helper to avoid this (credsStore or credHelpers in that file).\n\n", where)
	}
	fmt.Fprintln(c.out, "Login Succeeded")
	return nil
}

// askLogin completes user and password from where the flags say, or from the
// terminal.
func (c *cli) askLogin(l *loginFlags) error {
	switch {
	case l.stdin && l.password != "":
		return fmt.Errorf("--password and --password-stdin are mutually exclusive")
	case l.stdin && l.user == "":
		return fmt.Errorf("the --password-stdin option requires --username to be set")
	case l.stdin:
		in, err := io.ReadAll(io.LimitReader(c.in, 64<<10))
		if err != nil {
			return err
		}
		l.password = strings.TrimRight(string(in), "\r\n")
	case l.password != "":
		fmt.Fprintln(c.err, "WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
	}
	if (l.user == "" || l.password == "" && !l.stdin) && !isTerminal(c.in) {
		return fmt.Errorf("cannot perform an interactive login from a non TTY device: use --username and --password-stdin")
	}
	if l.user == "" {
		fmt.Fprint(c.err, "Username: ")
		line, err := bufio.NewReader(c.in).ReadString('\n')
		if err != nil {
			return err
		}
		l.user = strings.TrimSpace(line)
	}
	if l.password == "" && !l.stdin {
		fmt.Fprint(c.err, "Password: ")
		secret, err := term.ReadPassword(int(c.in.Fd()))
		fmt.Fprintln(c.err)
		if err != nil {
			return err
		}
		l.password = string(secret)
	}
	switch {
	case l.user == "" || strings.ContainsAny(l.user, ":\r\n"):
		return fmt.Errorf("the user name %.60q is empty or has a colon", l.user)
	case l.password == "":
		return fmt.Errorf("the password is empty")
	}
	return nil
}
