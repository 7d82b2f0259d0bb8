// Package promotion is the heart: the procedure by which a release enters an environment, as a
// list of durable steps, each of which can be done again after a kill and undone on failure.
//
// It decides; the rooms below it (runtime, database, checkpoint, bridge …) act. It knows no table
// of Odoo and no option of Docker.
package promotion

import (
	"maps"
	"slices"
)

// The kinds of procedure.
const (
	KindPromote       = "promote"        // a release enters an environment
	KindConfiguration = "configuration"  // the release stays, its pools are started anew with other settings
	KindRollback      = "rollback"       // the route goes back to the release that served before
	KindRestore       = "restore"        // a tenant goes back to a checkpoint
	KindCreate        = "create"         // a tenant's database is made
	KindCheckpoint    = "checkpoint"     // a checkpoint on demand
	KindSuspend       = "suspend"        // a tenant is closed to its people, its data kept
	KindResume        = "resume"         // and opened again
	KindDelete        = "delete"         // a tenant is closed for good: its data goes after a time of grace
	KindUndelete      = "undelete"       // within that time, it comes back
	KindPurge         = "purge"          // after it, its data goes
	KindRotate        = "rotate"         // the pools' database logins are changed
	KindMove          = "move"           // a tenant goes to pools of its own, or back to the shared ones
	KindRename        = "rename"         // a tenant's people reach it under other host names
	KindBeside        = "restore_beside" // a checkpoint is restored beside the tenant that it is of
	KindDropBeside    = "drop_beside"    // what stands beside a tenant is taken away
)

// procedures are the steps of each kind, in order. Undoing goes through the same list backwards,
// from the step that failed, itself included: it may be half done.
var procedures = map[string][]Step{
	KindPromote: {
		{Name: "admit", Do: admit},
		{Name: rehearseStep, Do: rehearse},
		{Name: "gates", When: guarded, Do: gates},                // after what they ask about is known, before anything is touched
		{Name: "start pool", Do: startPool, Undo: removeNewPool}, // before the hold, so that only the update is waited for
		{Name: "checkpoint", When: updates.and(routeIsWayBack), Do: takeCheckpoint, Undo: freeGarbageCollector},
		{Name: "hold", When: updates, Do: hold, Undo: letGo},
		{Name: "checkpoint in fence", When: updates.and(restoreIsWayBack), Do: takeFenceCheckpoint, Undo: freeGarbageCollector},
		{Name: "update", When: updates, Do: update, Undo: undoUpdate},
		{Name: "let go", When: updates.and(oldReleaseWorks), Do: letGo},
		{Name: "verify", Do: verify, Undo: forgetCanary},
		{Name: "shift", Do: shift, Undo: shiftBack},
		{Name: "release hold", When: updates.and(oldReleaseFails), Do: releaseToNew, Undo: holdAgain},
		{Name: "bake", Do: bake},
		{Name: "record", Do: record},
	},
	KindConfiguration: { // no data is touched: so there is no rehearsal, no checkpoint and no update, and the old pool is the way back
		{Name: "admit", Do: admitConfiguration},
		{Name: "gates", When: guarded, Do: gates},
		{Name: "start pool", Do: startPool, Undo: removeNewPool},
		{Name: "verify", Do: verify, Undo: forgetCanary},
		{Name: "shift", Do: shift, Undo: shiftBack},
		{Name: "bake", Do: bake},
		{Name: "record", Do: record},
	},
	KindRollback: {
		{Name: "admit", Do: admitRollback},
		{Name: "start pool", Do: startPool, Undo: removeNewPool},
		{Name: "verify", Do: verify, Undo: forgetCanary},
		{Name: "shift", Do: shift, Undo: shiftBack},
		{Name: "record", Do: record},
	},
	KindRestore: {
		{Name: "admit", Do: admitRestore},
		{Name: "start pool", Do: startPool, Undo: removeNewPool},
		{Name: "hold", Do: hold, Undo: letGo},
		{Name: "checkpoint in fence", Do: takeFenceCheckpoint, Undo: freeGarbageCollector}, // so that a restore can be restored from
		{Name: "restore", Do: restoreChosen, Undo: undoRestore},
		{Name: "verify", Do: verify, Undo: forgetCanary},
		{Name: "shift", Do: shift, Undo: shiftBack},
		{Name: "release hold", Do: releaseToNew, Undo: holdAgain},
		{Name: "record", Do: record},
	},
	KindCreate: {
		{Name: "admit", Do: admitCreate, Undo: forgetTenant},
		{Name: "declare", When: undeclared, Do: declareTenant, Undo: undeclareTenant}, // first, so that nobody else takes name, host or database
		{Name: "create database", Do: createDatabase, Undo: dropCreated},
		{Name: "start pool", When: fromTemplate, Do: startPool, Undo: removeNewPool},
		{Name: "verify", When: fromTemplate, Do: verify, Undo: forgetCanary},
		{Name: "shift", When: fromTemplate, Do: shift, Undo: shiftBack},
		{Name: "record", When: fromTemplate, Do: record, Undo: unrecord},
	},
	KindSuspend: {
		{Name: "admit", Do: admitSuspend},
		{Name: "suspend", Do: suspend, Undo: openAgain},
	},
	KindResume: {
		{Name: "admit", Do: admitResume},
		{Name: "start pool", Do: wakePool},
		{Name: "verify", Do: verifySuspended, Undo: fenceAgain},
		{Name: "open", Do: openAgain},
	},
	KindDelete: {
		{Name: "admit", Do: admitDelete},
		{Name: "suspend", Do: closeForGood, Undo: openAfterAll},
		{Name: "last checkpoint", Do: takeFenceCheckpoint, Undo: freeGarbageCollector}, // nobody writes after it
		{Name: "leave", Do: leave, Undo: stay},
	},
	KindUndelete: {
		{Name: "admit", Do: admitUndelete},
		{Name: "start pool", When: servedBefore, Do: startPool, Undo: removeNewPool},
		{Name: "verify", When: servedBefore, Do: verifySuspended, Undo: fenceAgain},
		{Name: "open", Do: comeBack},
	},
	KindPurge: { // nothing of it can be undone: what fails half-way is done to its end when it is asked for again
		{Name: "admit", Do: admitPurge},
		{Name: "undeclare", Do: purgeDocument}, // first, so that nobody asks anything of what is half gone
		{Name: "drop", Do: purgeData},
		{Name: "forget", Do: forgetLeaving},
	},
	KindRotate: {
		{Name: "admit", Do: admitRotate},
		{Name: "start pool", Do: startPool, Undo: removeNewPool},
		{Name: "verify", Do: verify, Undo: forgetCanary},
		{Name: "shift", Do: shift, Undo: shiftBack},
		{Name: "empty old pool", Do: emptyOld},
		{Name: "record", Do: record}, // the old pool goes, and its login with it
	},
	KindMove: { // the release stays; the old pool is left without any right, so all traffic moves at once
		{Name: "admit", Do: admitMove},
		{Name: "declare", When: rehosted, Do: declareHosting, Undo: undeclareHosting},
		{Name: "start pool", Do: startPool, Undo: removeNewPool},
		{Name: "copy files", Do: copyAhead, Undo: removeCopy}, // before the hold, so that only what came since is waited for
		{Name: "hold", Do: hold, Undo: letGo},
		{Name: "hand over", Do: changeHands, Undo: handBack},
		{Name: "verify", Do: verify, Undo: forgetCanary},
		{Name: "shift", Do: shift, Undo: shiftBack},
		{Name: "release hold", Do: releaseToNew, Undo: holdAgain},
		{Name: "record", Do: record},
		{Name: "remove old files", Do: removeOld},
	},
	KindRename: {
		{Name: "admit", Do: admitRename},
		{Name: "declare", When: readdressed, Do: declareHosts, Undo: undeclareHosts}, // first, so that nobody else takes the hosts
		{Name: "rename", Do: readdress, Undo: addressAsBefore},
	},
	KindBeside: { // the living tenant is not touched: it is no part of any of this
		{Name: "admit", Do: admitBeside, Undo: forgetBeside}, // undone last of all
		{Name: "restore", Do: restoreBeside, Undo: dropRestoredBeside},
		{Name: "neutralise", Do: neutralise, Undo: endNeutralise}, // before anybody may connect
		{Name: "start pool", When: hosted, Do: startPool, Undo: removeNewPool},
		{Name: "open", When: hosted, Do: openBeside, Undo: closeBeside},
		{Name: "record", Do: recordBeside},
	},
	KindDropBeside: {
		{Name: "close", Do: closeBeside},
		{Name: "drop", Do: dropBeside},
	},
	KindCheckpoint: {
		{Name: "checkpoint", Do: takeCheckpoint, Undo: freeGarbageCollector},
	},
}

// Kinds are all there are, by name.
func Kinds() []string { return slices.Sorted(maps.Keys(procedures)) }

// Procedure names the steps of a kind, in order. Some of them may not apply to a rollout.
func Procedure(kind string) []string {
	var names []string
	for _, step := range procedures[kind] {
		names = append(names, step.Name)
	}
	return names
}
