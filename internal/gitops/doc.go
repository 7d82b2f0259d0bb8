// Package gitops keeps the estate in Git: it reads the declared state at a commit, commits the target
// of an environment (which release shall run there), and takes a target back when a rollout went back.
//
// Git holds targets, never weights or progress. Going forward, the commit comes first. Going back, Waybill
// acts first and commits through an outbox, so that a Git server that is away never delays a rollback,
// and the commit that records it is not taken for a new promotion.
package gitops
