// Package gather makes the Input of the checks: it reads addons from a working tree or from the
// source of a build, indexes the base image once for each digest, and has the base's own Python
// interpreter parse the sources, in a process of its own that runs none of them. Everything that
// it reads is limited; what was too large to look at is named in the Input.
package gather
