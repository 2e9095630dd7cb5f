package desk

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"strings"
)

// The form of a task's id: characters of base32, of which the first ones name the owner. The
// others are the whole id of a task that an earlier version accepted.
const (
	ownerSize  = 8
	formerSize = 26
	idSize     = ownerSize + formerSize

	alphabet = "abcdefghijklmnopqrstuvwxyz234567"
)

// Derive returns the ids of the task that an owner's message makes, and of its context if
// the message names none. They do not depend on the time and place at which it is accepted,
// so a repeated message finds its task.
func Derive(owner, messageID string) (id, contextID string) {
	all := digest([]string{owner, messageID})
	return ownerMark(owner) + all[:formerSize], all[formerSize : 2*formerSize]
}

// Foreign reports whether the id can only be a task of another owner, or of none. So a
// request about a foreign task is refused without a look at the store, in the same time
// whether the task exists or not.
//
// An id of another form may be of a task that an earlier version accepted. Only the record
// knows its owner.
func Foreign(owner, id string) bool {
	return len(id) == idSize && strings.Trim(id, alphabet) == "" && id[:ownerSize] != ownerMark(owner)
}

// IsID reports whether a text has the form of a task's id, of this version or an earlier one.
func IsID(id string) bool {
	return (len(id) == idSize || len(id) == formerSize) && strings.Trim(id, alphabet) == ""
}

// former is the id that an earlier version gave the task.
func former(id string) string { return id[ownerSize:] }

// ownerMark is the beginning of the ids of an owner's tasks. Two owners share one in 2^40
// cases. Then the record tells them apart.
func ownerMark(owner string) string { return digest([]string{"owner", "of", owner})[:ownerSize] }

// digest hashes a list of texts to 52 characters of base32.
func digest(texts []string) string {
	text, err := json.Marshal(texts)
	if err != nil { // strings always encode
		panic(err)
	}
	sum := sha256.Sum256(text)
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))
}
