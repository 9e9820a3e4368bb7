// The store's test server: FerretDB, embedded, with its SQLite backend.
//
//	ferretdb DIR [HOST:PORT]
//
// State lives in DIR, the socket is DIR/mongo.sock unless an address is given
// (port 0: the kernel chooses).  The connection string is written to DIR/uri
// once it listens.  There is no telemetry and no state file: the embedded
// package has neither.  SIGTERM and SIGINT end it.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

// configure maps the command line to what the server wants.
func configure(args []string) (string, *ferretdb.Config, error) {
	if len(args) < 2 || len(args) > 3 {
		return "", nil, fmt.Errorf("usage: ferretdb DIR [HOST:PORT]")
	}

	dir, err := filepath.Abs(args[1])
	if err != nil {
		return "", nil, err
	}

	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return "", nil, err
	}

	config := &ferretdb.Config{
		Handler:   "sqlite",
		SQLiteURL: (&url.URL{Scheme: "file", Opaque: data + "/"}).String(),
		Logger: slog.New(slog.NewTextHandler(os.Stderr,
			&slog.HandlerOptions{Level: slog.LevelWarn})),
	}

	if len(args) == 3 {
		config.Listener.TCP = args[2]
	} else {
		config.Listener.Unix = filepath.Join(dir, "mongo.sock")
		// left behind when the last one was killed
		if err := os.RemoveAll(config.Listener.Unix); err != nil {
			return "", nil, err
		}
	}

	return dir, config, nil
}

// announce writes the address; the rename makes it appear whole.
func announce(dir, address string) error {
	path := filepath.Join(dir, "uri")
	if err := os.WriteFile(path+".new", []byte(address+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func run() error {
	dir, config, err := configure(os.Args)
	if err != nil {
		return err
	}

	server, err := ferretdb.New(config)
	if err != nil {
		return err
	}

	ctx, stop := signal.NotifyContext(context.Background(),
		syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()

	address := server.MongoDBURI()
	if config.Listener.TCP == "" {
		address = "mongodb://" + url.PathEscape(config.Listener.Unix)
	}
	if err := announce(dir, address); err != nil {
		return err
	}

	return <-done
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "ferretdb:", err)
		os.Exit(1)
	}
}
