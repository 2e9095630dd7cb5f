// Package wire is the strict HTTP side of A2A 1.0: it turns requests into calls
// of an [a2asrv.RequestHandler] and answers into bytes, over the a2a types.
//
// It is not the agent: it knows no task, store or caller, and decides nothing
// that needs one (whether a task exists, which media types are welcome, where
// a webhook may point). It is not an authenticator either.
//
// The SDK's own transport is not used because it writes the headers of a stream
// before the handler has answered, changes ids above 2^53, has no body limit,
// answers a deletion with neither result nor error, calls a bad value a parse
// error, and sends the text of internal errors to the client.
//
// A request is read once, by jsontext, which becomes encoding/json/v2's and is
// strict by default: the envelope first, and with it the syntax of the whole text,
// then params, with every violation found and the path of its field. encoding/json
// is not used for that, because it replaces lone surrogates, takes the last of two
// equal keys, cannot tell null from absent in a part, and loses the index in the
// path of an error.
//
// Answers are the a2a types as json/v2 marshals them under the options of
// encoding/json. json.Marshal itself would marshal every part as often as it is
// nested, and has no way to say how a time is written without changing values that
// others share: 5.6.1 wants UTC and milliseconds.
package wire
