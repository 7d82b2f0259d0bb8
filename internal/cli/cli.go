// Package cli is the command line: one file a verb. It talks to the API as any client would; only
// build, router and the offline restore work without a server.
package cli

// Main runs the command line and returns its exit code.
func Main(args []string) int { return 2 }
