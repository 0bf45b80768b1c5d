// Package batos holds the vocabulary of BAT OS, a living image for
// language-model agents: object and transaction identifiers, selectors,
// messages, authority and the closed set of error codes. It imports nothing
// but the standard library, and everything else imports it.
package batos
