// Command base packs the tar of a root file system into an OCI layout, for build.sh:
//
//	go run ./hack/base ROOTFS LAYOUT
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/waybill-dev/waybill/internal/build"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: base ROOTFS LAYOUT")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := build.PackRootfs(ctx, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "base:", err)
		os.Exit(1)
	}
}
