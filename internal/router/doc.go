// Package router is the weighted, sticky reverse proxy of the docker runtime. It runs as its own
// process and keeps serving with its last routes when the server is away.
package router
