package services_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"loper.run/test/env"
)

// The host's addresses, and those of the machine beside it.
const (
	host4, host6       = "198.51.100.1", "2001:db8:51::1"
	outside4, outside6 = "198.51.100.2", "2001:db8:51::2"
)

const image = "localhost/services:1"

func TestServices(t *testing.T)       { testServices(t, nil) }
func TestServicesAsUser(t *testing.T) { testServices(t, env.Ordinary(t, true)) }

func testServices(t *testing.T, user *env.User) {
	host, outside := env.TestNetns(t), env.TestNetns(t)
	env.Need(t, "nft")
	if user != nil {
		env.Tun(t)
	}
	if err := env.Wire(host, "eth0", []string{host4 + "/24", host6 + "/64"}, outside, "eth0", []string{outside4 + "/24", outside6 + "/64"}); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"route", "add", "default", "via", outside4}, {"-6", "route", "add", "default", "via", outside6}} {
		if err := host.IP(args...); err != nil {
			t.Fatal(err)
		}
	}
	host.Do(func() {
		// Where bridges show the packet filter what crosses them, published ports are not on ::1.
		os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-ip6tables", []byte("0"), 0)
	})
	file := tarball(t)
	listen(t, outside)
	e := newEngine(t, host, user)
	e.importFrom(file)
	start(e)

	t.Run("by name", func(t *testing.T) { byName(e) })
	t.Run("the way out", func(t *testing.T) { wayOut(e) })
	for name, address := range map[string]string{"IPv4": host4, "IPv6": "[" + host6 + "]"} {
		t.Run("from outside by "+name, func(t *testing.T) { fromOutside(t, outside, address) })
	}
	t.Run("from the host", func(t *testing.T) {
		for _, address := range []string{"127.0.0.1", "[::1]", host4, "[" + host6 + "]"} {
			host.Do(func() { get(t, address) })
		}
	})
	t.Run("the client's address is kept", func(t *testing.T) {
		log := e.must("exec", "web", "cat", "/var/log/nginx/access.log")
		for _, client := range []string{outside4, outside6} {
			if !strings.Contains(log, client+" - ") {
				t.Errorf("nginx has not seen %s:\n%s", client, log)
			}
		}
	})
	t.Run("nothing but what is published", func(t *testing.T) { unpublished(t, e, outside) })
}

// start brings up a web server on two networks, and a database and a cache on the one that leads nowhere.
func start(e *engine) {
	e.must("network", "create", "front")
	e.must("network", "create", "--internal", "back")
	e.must("run", "-d", "--name", "db", "--network", "back", "--user", "postgres", image, "sh", "-c", `
		PATH=$PATH:/usr/lib/postgresql/15/bin; initdb -D /tmp/db -A trust >/dev/null &&
		echo "host all all all trust" >>/tmp/db/pg_hba.conf && exec postgres -D /tmp/db -c "listen_addresses=*" -c jit=off -c unix_socket_directories=/tmp -c fsync=off`)
	e.must("run", "-d", "--name", "cache", "--network", "back:alias=redis", "--user", "redis", image,
		"redis-server", "--bind", "*", "-::*", "--protected-mode", "no", "--save", "")
	e.must("run", "-d", "--name", "web", "--network", "front", "--network", "back", "-p", "8080:80", image, "sh", "-c",
		`echo hello from nginx >/var/www/html/index.html; exec nginx -g "daemon off;"`)
	e.eventually("accepting connections", "db", "pg_isready", "-h", "127.0.0.1")
	e.eventually("PONG", "cache", "redis-cli", "ping")
	e.eventually("0.0.0.0:80", "web", "ss", "-ltn")
}

// byName uses the database and the cache from the web server's container.
func byName(e *engine) {
	e.eventually("42", "web", "psql", "-h", "db", "-U", "postgres", "-Atc", "select 6*7")
	e.eventually("PONG", "web", "redis-cli", "-h", "redis", "ping")
	for _, command := range []string{
		"getent ahostsv6 db | grep -q STREAM && psql -h $(getent ahostsv6 db | head -1 | cut -d' ' -f1) -U postgres -Atc 'select inet_client_addr()' | grep :",
		"redis-benchmark -q -h cache -n 20000 -c 20 -P 4 -t set,get | tr '\\r' '\\n' | grep 'requests per second' | wc -l | grep 2",
		"createdb -h db -U postgres bench && /usr/lib/postgresql/15/bin/pgbench -h db -U postgres -i -q bench 2>&1 | grep done && /usr/lib/postgresql/15/bin/pgbench -h db -U postgres -c 4 -t 50 bench | grep 'processed: 200/200'",
		"dd if=/dev/zero bs=1M count=8 2>/dev/null | redis-cli -h cache -x set big && redis-cli -h cache strlen big | grep 8388608",
	} {
		e.must("exec", "web", "sh", "-c", command)
	}
	if out, err := e.try("exec", "cache", "sh", "-c", "getent hosts web && nc -z -w 2 web 80"); err != nil {
		e.t.Errorf("the cache does not reach the web server on the network they share: %v: %s", err, out)
	}
}

// wayOut: what is on a network that is not internal reaches the outside, and nothing else does.
func wayOut(e *engine) {
	for _, address := range []string{outside4, outside6} {
		e.eventually("hello from outside", "web", "nc", "-w", "3", address, "7")
		if out, err := e.try("exec", "db", "nc", "-w", "2", address, "7"); err == nil {
			e.t.Errorf("a container on an internal network reaches %s: %s", address, out)
		}
	}
}

// listen is a machine outside that greets whoever comes.
func listen(t *testing.T, outside *env.Netns) {
	t.Helper()
	var l net.Listener
	var err error
	outside.Do(func() { l, err = net.Listen("tcp", "[::]:7") })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "hello from outside\n")
			go func() {
				// Pasta of 2023 may lose an end that comes together with data.
				c.SetDeadline(time.Now().Add(2 * time.Second))
				io.Copy(io.Discard, c)
				c.Close()
			}()
		}
	}()
}

// fromOutside asks the web server many times at once, over new connections and over one.
func fromOutside(t *testing.T, outside *env.Netns, address string) {
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			outside.Do(func() {
				for range 25 {
					get(t, address)
				}
			})
		})
	}
	all.Wait()
	outside.Do(func() {
		c, err := net.DialTimeout("tcp", address+":8080", 5*time.Second)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		for range 100 {
			fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: web\r\n\r\n")
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			io.Copy(io.Discard, res.Body)
		}
	})
}

// get asks the web server once, on the calling thread.
func get(t *testing.T, address string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", address+":8080", 5*time.Second)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(c, "GET / HTTP/1.0\r\n\r\n")
	answer, err := io.ReadAll(c)
	if err != nil || !strings.Contains(string(answer), "hello from nginx") {
		t.Errorf("%s: %v: %q", address, err, answer)
	}
}

// unpublished tries the database's port, and the containers' own addresses, from outside.
func unpublished(t *testing.T, e *engine, outside *env.Netns) {
	tries := []string{host4 + ":5432", "[" + host6 + "]:5432"}
	for name, port := range map[string]string{"db": "5432", "web": "80"} {
		for _, address := range strings.Fields(e.must("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}} {{end}}", name)) {
			tries = append(tries, net.JoinHostPort(address, port))
		}
	}
	if len(tries) < 6 {
		t.Errorf("inspect shows no addresses: %q", tries)
	}
	for _, args := range [][]string{{"route", "add", "default", "via", host4}, {"-6", "route", "add", "default", "via", host6}} {
		if err := outside.IP(args...); err != nil {
			t.Fatal(err)
		}
	}
	outside.Do(func() {
		for _, address := range tries {
			if c, err := net.DialTimeout("tcp", address, 300*time.Millisecond); err == nil {
				c.Close()
				t.Errorf("%s is reached from outside", address)
			}
		}
	})
}
