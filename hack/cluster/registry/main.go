// Command registry serves the registry that Waybill brings along by itself, for make cluster, where no
// server of Waybill runs yet. Everybody may read; user waybill writes, with the password in the file.
//
//	registry -dir FOLDER -listen ADDRESS -password FILE
package main

import (
	"crypto/subtle"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/registry"
)

func main() {
	dir := flag.String("dir", "", "folder of the images")
	listen := flag.String("listen", "", "address")
	password := flag.String("password", "", "file")
	flag.Parse()
	if err := run(*dir, *listen, *password); err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		os.Exit(1)
	}
}

func run(dir, listen, passwordFile string) error {
	content, err := os.ReadFile(passwordFile)
	if err != nil {
		return err
	}
	password := strings.TrimSpace(string(content))
	if password == "" {
		return errors.New("the file with the password is empty")
	}
	h, err := registry.Handler(dir, func(user, given string) bool {
		return user == "waybill" && subtle.ConstantTimeCompare([]byte(given), []byte(password)) == 1
	})
	if err != nil {
		return err
	}
	server := &http.Server{Addr: listen, Handler: h, ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}
