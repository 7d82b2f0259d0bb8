// Package gate decides whether a promotion may go on. Policies of the estate are compiled into rules in CEL
// over typed facts (Facts); a Set of them is evaluated against what is known, and answers with a Result that
// says of every rule whether it holds and, where it does not, which part of it failed, what the value was,
// what is needed, and from when.
//
// It is pure: facts and the time are given to it, and it does no I/O. What is not known never lets anything
// pass: a rule that depends on an unknown fact waits for it, or denies where the fact cannot change any more.
package gate
