// Simulates a vCenter: govmomi's simulator behind TLS, told by a settings file.
//
// `vcenter FOLDER`: the folder holds settings.json and gets the datastores and state.json, by which the
// inventory lives on from one start to the next: machines with their references, power, marks and snapshots,
// folders, networks, hosts' services, clocks, options and lockdown. A killed one loses what changed in the last
// half second; sessions, tasks, events, roles, permissions, distributed switches, branches of snapshots and
// relocations to another datastore are always lost.
//
// Real are TLS, logins, sessions, tasks, what a limited login may change, and the API's words. Not real are
// guests and what is on disks (a revert restores power alone), what a login may read (all), DRS, HA and
// performance; a replicated datastore is one folder that two vCenters share, so that it never lags, and both may
// write to it.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

const endingTakes = 5 * time.Second // for requests under way; a wait for updates would never end

func main() {
	log.SetFlags(log.LstdFlags | log.LUTC)
	if len(os.Args) != 2 {
		log.Fatal("usage: vcenter FOLDER")
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatalf("vcenter %s: %v", os.Args[1], err)
	}
}

func run(folder string) error {
	told, err := readSettings(folder)
	if err != nil {
		return err
	}
	center, err := build(told)
	if err != nil {
		return err
	}
	server, err := listen(told, newGate(center))
	if err != nil {
		return err
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-ended:
	case err = <-server.failed:
		return err
	}
	soon, cancel := context.WithTimeout(context.Background(), endingTakes)
	defer cancel()
	if err := server.http.Shutdown(soon); errors.Is(err, context.DeadlineExceeded) {
		_ = server.http.Close()
	}
	return center.records.save()
}

type listening struct {
	http   *http.Server
	failed chan error
}

func listen(told settings, handler http.Handler) (*listening, error) {
	pair, err := tls.LoadX509KeyPair(told.Certificate, told.Key)
	if err != nil {
		return nil, err
	}
	where := net.JoinHostPort(told.Address, strconv.Itoa(told.Port))
	socket, err := net.Listen("tcp", where)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", where, err)
	}
	server := &http.Server{
		Handler:           handler,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		ReadHeaderTimeout: time.Minute,
		// Faults end connections in mid-answer, which HTTP/2 shares between requests.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	running := &listening{http: server, failed: make(chan error, 1)}
	go func() { running.failed <- server.ServeTLS(socket, "", "") }()
	log.Printf("%s answers at %s", told.Name, where)
	return running, nil
}
