// Package vuln compares what a release is made of with advisories in OSV's format, offline: the
// databases are folders or zip files that somebody points at. It says what was found, what could not
// be compared and how old the databases are; Evaluate judges that by the estate's rules.
//
// It never takes silence for health: a database that cannot be read whole is an error, and an
// ecosystem without advisories is named.
package vuln
