// Package build makes a release out of source: the addons of a Git repository at one commit, on a
// base image with Odoo in it, as further layers. It needs no Docker and runs no code of the addons.
// The digest depends on the commit, the base and Waybill's own bridge, on nothing else: not on the
// folder, the umask, the clock or the machine.
package build
