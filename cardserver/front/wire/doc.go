// Package wire is the strict HTTP side of A2A, for its bindings JSON-RPC and HTTP+JSON in
// the versions 1.0 and 0.3. It turns requests into calls of an [a2asrv.RequestHandler] and
// answers into bytes, over the a2a types.
//
// It is not the agent: it knows no task, store or caller, and leaves to the handler all
// that needs one (whether a task exists, which media types are welcome, where a webhook may
// point). It is not an authenticator either.
//
// All bindings and versions share one path: every request becomes an operation and its
// params (see operations). So all of them make the same checks and give the same errors.
//
// The SDK's own transports are not used because they write the headers of a stream before
// the handler has answered, change ids above 2^53, have no body limit, answer a deletion
// with neither result nor error, call a bad value a parse error, and send the text of
// internal errors to the client.
//
// A request is read once, by jsontext, which becomes encoding/json/v2's and is strict by
// default: first the envelope, and with it the syntax of the whole text, then params, with
// all violations and the paths of their fields. encoding/json would not do, because it
// replaces lone surrogates, takes the last of two equal keys, cannot tell null from absent
// in a part, and loses the index in the path of an error.
//
// Package shared/dialect writes the values of answers.
package wire
