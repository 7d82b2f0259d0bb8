// Package router is the weighted, sticky reverse proxy of the docker runtime. It runs as its own
// process and keeps serving with its last routes when the server is away.
//
// A request finds its tenant by host and its pool by bucket, a number 0–99 that a session keeps in
// a cookie. Raising the weight moves whole buckets, so the same sessions every time. While a tenant
// is held its requests wait and none fails; while it is frozen they are told to come back.
//
// The router decides nothing about releases: the server puts a whole Table in force through the
// admin socket (see Dial), and the router keeps it on disk for its next start.
package router
