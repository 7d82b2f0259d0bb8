//go:build tools

// Package s3 pins the S3 server, on a folder, that tests keep filestores in. It is a module of its own: nothing else shall be built at another
// version because of it.
package s3

import _ "github.com/versity/versitygw/cmd/versitygw"
