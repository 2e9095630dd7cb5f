package task

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"strconv"
	"strings"
)

// The form of a task's id: a digit, characters of base32 that name the owner, and the whole
// id that an earlier version gave the task. The digit sorts before all ids of that version
// (see [FormerFrom]).
const (
	form       = "1"
	ownerSize  = 8 // with the digit
	formerSize = 26
	idSize     = ownerSize + formerSize

	batchMark = "-b" // at the end of the id of a batch
	batchSize = idSize + len(batchMark)

	digestSize = 52 // 256 bits in base32

	alphabet = "abcdefghijklmnopqrstuvwxyz234567"
)

// FormerFrom sorts, byte by byte, behind all ids that [Derive] returns and not behind any id
// of an earlier version. So one look at an ordered index says whether a store has tasks of
// an earlier version.
const FormerFrom = "2"

// Derive returns the ids of the task that an owner's message makes, and of its context if
// the message names none. They do not depend on the time and place at which it is accepted,
// so a repeated message finds its task.
func Derive(owner, messageID string) (id, contextID string) {
	all := digest([]string{owner, messageID})
	return ownerMark(owner) + all[:formerSize], all[formerSize : 2*formerSize]
}

// RerunID returns the id of the task that runs an owner's task again. It depends on nothing else,
// so a repeated request finds the task. No message makes a task with such an id.
func RerunID(owner, id string) string {
	return ownerMark(owner) + digest([]string{"rerun", owner, id})[:formerSize]
}

// BatchID returns the id of an owner's batch of that name. It is the id of the batch's task
// and of the context of its items. No message makes a task with such an id.
func BatchID(owner, name string) string {
	return ownerMark(owner) + digest([]string{"batch", owner, name})[:formerSize] + batchMark
}

// IsBatch reports whether a text has the form of the id of a batch.
func IsBatch(id string) bool {
	rest, ok := strings.CutSuffix(id, batchMark)
	return ok && formed(rest)
}

// ItemID returns the id of the task for a line of a batch, the first one being 1. The lines of a
// batch are spread over the ids of a store, and each id tells the batch and the line.
func ItemID(batch string, line int) string {
	n := strconv.Itoa(line)
	return form + digest([]string{"item", batch, n})[:ownerSize-len(form)] + "-" + batch + "-" + n
}

// ItemOf returns the batch and the line of an id that [ItemID] has made. No other task has
// such an id.
func ItemOf(id string) (batch string, line int, ok bool) {
	const begin, end = ownerSize + 1, ownerSize + 1 + batchSize
	if len(id) < end+2 {
		return "", 0, false
	}

	batch = id[begin:end]
	line, err := strconv.Atoi(id[end+1:])
	if err != nil || line < 1 || !IsBatch(batch) || ItemID(batch, line) != id {
		return "", 0, false
	}
	return batch, line, true
}

// Foreign reports whether the id can only be a task of another owner, or of none. So a
// request about a foreign task is refused without a look at the store, in the same time
// whether the task exists or not.
//
// An id of another form may be of a task that an earlier version accepted. Only the record
// knows its owner.
func Foreign(owner, id string) bool {
	if batch, _, ok := ItemOf(id); ok {
		id = batch
	}
	return (formed(id) || IsBatch(id)) && id[:ownerSize] != ownerMark(owner)
}

// IsID reports whether a text has the form of a task's id, of this version or an earlier one.
func IsID(id string) bool {
	_, _, item := ItemOf(id)
	return item || formed(id) || IsBatch(id) || len(id) == formerSize && strings.Trim(id, alphabet) == ""
}

// Find loads a record for an owner, as [Store] does. It refuses a foreign id before it asks
// the store. For any other owner than its own a record does not exist, not even a deleted one.
func Find(ctx context.Context, s Store, owner, id string) (Record, error) {
	if Foreign(owner, id) {
		return Record{}, ErrNotFound
	}
	r, err := s.Load(ctx, id)
	if r.Task != nil && !r.Visible(owner) {
		return Record{}, ErrNotFound
	}
	return r, err
}

// Former returns the id that an earlier version gave the task of the same message, or "" if
// the id has another form than those of [Derive].
func Former(id string) string {
	if !formed(id) {
		return ""
	}
	return id[ownerSize:]
}

// formed reports whether an id has the form of those that [Derive] returns.
func formed(id string) bool {
	rest, ok := strings.CutPrefix(id, form)
	return ok && len(id) == idSize && strings.Trim(rest, alphabet) == ""
}

// ownerMark is the beginning of the ids of an owner's tasks. Two owners share one in 2^35
// cases. Then the record tells them apart.
func ownerMark(owner string) string {
	return form + digest([]string{"owner", "of", owner})[:ownerSize-len(form)]
}

// digest hashes a list of texts to digestSize characters of base32.
func digest(texts []string) string {
	text, err := json.Marshal(texts)
	if err != nil { // strings always encode
		panic(err)
	}
	sum := sha256.Sum256(text)
	var all [digestSize]byte
	encoding.Encode(all[:], sum[:])
	return string(all[:])
}

var encoding = base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)
