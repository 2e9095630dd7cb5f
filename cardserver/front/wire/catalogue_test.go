package wire_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"errand/shared/lab/conformance"
)

// Codes of JSON-RPC.
const (
	parseError     = -32700
	invalidRequest = -32600
	noMethod       = -32601
	invalidParams  = -32602
)

// A row of the catalogue of bad input, by its number there. The answer has the code and,
// for params, the field, or the place in the body where the text is bad; code 0 is a
// success.
type row struct {
	name  string
	body  string
	code  int
	field string
}

func catalogue() []row {
	long := strings.Repeat("x", 64<<10)
	many := func(n int, element string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + "]"
	}

	numbered := func(n int, format string) string {
		var s strings.Builder
		for i := range n {
			fmt.Fprintf(&s, format+",", i)
		}
		return strings.TrimSuffix(s.String(), ",")
	}

	u16 := func(s string) string {
		var b bytes.Buffer
		for _, u := range utf16.Encode([]rune(s)) {
			b.Write([]byte{byte(u), byte(u >> 8)})
		}
		return b.String()
	}

	part := func(fields string) string { return message(`"parts":[{"text":"a"},{` + fields + `}]`) }
	config := func(fields string) string {
		return request("SendMessage", `{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}]},"configuration":{`+fields+`}}`)
	}

	hook := func(fields string) string {
		return request("CreateTaskPushNotificationConfig", `{"taskId":"t1",`+fields+`}`)
	}

	list := func(fields string) string { return request("ListTasks", `{`+fields+`}`) }
	id := func(id string) string { return `{"jsonrpc":"2.0","id":` + id + `,"method":"ListTasks"}` }
	ok := message("")
	return []row{
		{"1 empty body", ``, parseError, ""},
		{"1 only spaces", " \n", parseError, ""},
		{"2 open object", `{`, parseError, ""},
		{"3 null", `null`, invalidRequest, ""},
		{"4 empty array", `[]`, invalidRequest, ""},
		{"5 batch", `[` + ok + `,` + ok + `]`, invalidRequest, ""},
		{"5 batch of empty", `[{},{}]`, invalidRequest, ""},
		{"6 string", `"x"`, invalidRequest, ""},
		{"7 BOM", "\ufeff" + ok, parseError, ""},
		{"8 UTF-16", u16(ok), parseError, ""},
		{"9 invalid UTF-8 in text", message("\"parts\":[{\"text\":\"\xff\"}]"), parseError, ""},
		{"9 invalid UTF-8 in key", "{\"\xc3\":1}", parseError, ""},
		{"9 overlong", message("\"parts\":[{\"text\":\"\xc0\xaf\"}]"), parseError, ""},
		{"10 NUL between", "{\x00}", parseError, ""},
		{"10 NUL in string", message("\"parts\":[{\"text\":\"\x00\"}]"), parseError, ""},
		{"10 NUL after", ok + "\x00", parseError, ""},
		{"11 trailing garbage", ok + "x", parseError, ""},
		{"11 trailing comma", `{"jsonrpc":"2.0",}`, parseError, ""},
		{"12 two values", ok + ok, parseError, ""},
		{"13 method twice", `{"jsonrpc":"2.0","id":1,"method":"ListTasks","method":"GetTask"}`, parseError, "/method"},
		{"13 method twice, one escaped", `{"jsonrpc":"2.0","id":1,"method":"ListTasks","m\u0065thod":"GetTask"}`, parseError, "/method"},
		{"13 id twice", `{"jsonrpc":"2.0","id":1,"id":2,"method":"ListTasks"}`, parseError, "/id"},
		{"13 text twice", part(`"text":"a","text":"b"`), parseError, "/params/message/parts/1/text"},
		{"13 text twice, of an unknown part", part(`"x":[{"y":{"text":"a","t\u0065xt":"b"}}]`), parseError, "/params/message/parts/1/x/0/y/text"},
		{"13 metadata key twice", message(`"metadata":{"a":1,"a":2}`), parseError, "/params/message/metadata/a"},
		{"14 depth 10001", message(`"metadata":{"a":` + strings.Repeat("[", 10001) + strings.Repeat("]", 10001) + `}`), parseError, ""},
		{"14 depth 400000", strings.Repeat("[", 400_000), parseError, ""},
		{"15 depth 9980 in metadata", message(`"metadata":` + strings.Repeat(`{"a":`, 9980) + "1" + strings.Repeat("}", 9980)), invalidParams, "params"},
		{"15 depth 98 in metadata", message(`"metadata":` + strings.Repeat(`{"a":`, 98) + "1" + strings.Repeat("}", 98)), 0, ""},
		{"15 depth 99 in metadata", message(`"metadata":` + strings.Repeat(`{"a":`, 99) + "1" + strings.Repeat("}", 99)), invalidParams, "params"},
		{"16 object of many keys", request("ListTasks", "{"+numbered(90_000, `"x%x":1`)+"}"), invalidParams, "x270f"},
		{"16 metadata of many keys", message(`"metadata":{` + numbered(70_000, `"k%d":1`) + "}"), invalidParams, "message.metadata.k9992"},
		{"16 data of many keys", part(`"data":` + many(200_000, "1")), invalidParams, "message.parts[1].data[9991]"},
		{"16 data of many keys, then metadata", message(`"parts":[{"data":` + many(200_000, "1") + `}],"metadata":{}`), invalidParams, "message.parts[0].data[9993]"},
		{"16 keys of metadata at their limit", message(`"metadata":{` + numbered(256, `"k%d":1`) + "}"), 0, ""},
		{"16 more keys of metadata", message(`"metadata":{` + numbered(257, `"k%d":1`) + "}"), invalidParams, "message.metadata"},
		{"16 many fields", request("ListTasks", "{"+numbered(65, `"x%d":1`)+"}"), invalidParams, "params"},
		{"16 values beside the params", `{"jsonrpc":"2.0","id":1,"method":"ListTasks","x":` + many(10_000, "[]") + `}`, invalidRequest, ""},
		{"16 a violation by a long key", message(`"metadata":{"` + long + `":1e400}`), invalidParams, "message.metadata." + long[:256-len("message.metadata.")]},
		{"17 number out of range", message(`"metadata":{"n":1e400}`), invalidParams, "message.metadata.n"},
		{"17 number out of range in data", part(`"data":[1,{"n":-1e400}]`), invalidParams, "message.parts[1].data[1].n"},
		{"17 id out of range", id(`1e400`), invalidRequest, ""},
		{"18 id minus zero", id(`-0`), 0, ""},
		{"18 id above 2^53", id(`9007199254740993`), 0, ""},
		{"19 id object", id(`{}`), invalidRequest, ""},
		{"19 id array", id(`[1]`), invalidRequest, ""},
		{"19 id fraction", id(`1.5`), invalidRequest, ""},
		{"19 id bool", id(`true`), invalidRequest, ""},
		{"19 id half a surrogate", id(`"\ud800"`), parseError, "/id"},
		{"19 id long", id(`"` + long + `"`), invalidRequest, ""},
		{"20 jsonrpc 1.0", `{"jsonrpc":"1.0","id":1,"method":"ListTasks"}`, invalidRequest, ""},
		{"20 jsonrpc number", `{"jsonrpc":2.0,"id":1,"method":"ListTasks"}`, invalidRequest, ""},
		{"20 jsonrpc missing", `{"id":1,"method":"ListTasks"}`, invalidRequest, ""},
		{"21 method unknown", request("Nope", "{}"), noMethod, ""},
		{"21 method empty", request("", "{}"), invalidRequest, ""},
		{"21 method missing", `{"jsonrpc":"2.0","id":1}`, invalidRequest, ""},
		{"21 method number", `{"jsonrpc":"2.0","id":1,"method":5}`, invalidRequest, ""},
		{"21 method long", request(long, "{}"), noMethod, ""},
		{"21 method wrong case", request("sendMessage", "{}"), noMethod, ""},
		{"21 method of 0.3", request("message/send", `{"message":{"kind":"message","messageId":"m","role":"user","parts":[{"kind":"text","text":"x"}]}}`), 0, ""},
		{"21 method of 0.3 in another case", request("Message/Send", "{}"), noMethod, ""},
		{"22 params missing", `{"jsonrpc":"2.0","id":1,"method":"GetTask"}`, invalidParams, "id"},
		{"22 params array", request("ListTasks", `[]`), invalidParams, "params"},
		{"22 params string", request("GetTask", `"x"`), invalidParams, "params"},
		{"22 push params array", request("CreateTaskPushNotificationConfig", `[]`), invalidParams, "params"},

		{"31 message missing", request("SendMessage", `{}`), invalidParams, "message"},
		{"31 message null", request("SendMessage", `{"message":null}`), invalidParams, "message"},
		{"31 message string", request("SendMessage", `{"message":"hi"}`), invalidParams, "message"},
		{"31 messageId missing", request("SendMessage", `{"message":{"role":"ROLE_USER","parts":[{"text":"x"}]}}`), invalidParams, "message.messageId"},
		{"31 messageId null", message(`"messageId":null`), invalidParams, "message.messageId"},
		{"31 messageId empty", message(`"messageId":""`), invalidParams, "message.messageId"},
		{"31 messageId blank", message(`"messageId":" \u00a0"`), invalidParams, "message.messageId"},
		{"31 messageId long", message(`"messageId":"` + long + `"`), invalidParams, "message.messageId"},
		{"31 messageId NUL", message(`"messageId":"a\u0000"`), invalidParams, "message.messageId"},
		{"31 messageId number", message(`"messageId":5`), invalidParams, "message.messageId"},
		{"31 messageId dots, slashes, emoji", message(`"messageId":"../😀.x"`), 0, ""},
		{"32 role missing", request("SendMessage", `{"message":{"messageId":"m","parts":[{"text":"x"}]}}`), invalidParams, "message.role"},
		{"32 role unspecified", message(`"role":"ROLE_UNSPECIFIED"`), invalidParams, "message.role"},
		{"32 role bogus", message(`"role":"BOGUS"`), invalidParams, "message.role"},
		{"32 role agent", message(`"role":"ROLE_AGENT"`), invalidParams, "message.role"},
		{"32 role of 0.3", message(`"role":"user"`), invalidParams, "message.role"},
		{"32 role number", message(`"role":1`), 0, ""},
		{"32 role number of the agent", message(`"role":2`), invalidParams, "message.role"},
		{"32 role number unspecified", message(`"role":0`), invalidParams, "message.role"},
		{"32 role number unknown", message(`"role":-1`), invalidParams, "message.role"},
		{"32 role number in a string", message(`"role":"1"`), invalidParams, "message.role"},
		{"33 parts missing", request("SendMessage", `{"message":{"messageId":"m","role":"ROLE_USER"}}`), invalidParams, "message.parts"},
		{"33 parts empty", message(`"parts":[]`), invalidParams, "message.parts"},
		{"33 parts object", message(`"parts":{}`), invalidParams, "message.parts"},
		{"33 parts null entry", message(`"parts":[{"text":"a"},null]`), invalidParams, "message.parts[1]"},
		{"33 parts string entry", message(`"parts":["a"]`), invalidParams, "message.parts[0]"},
		{"33 parts too many", message(`"parts":` + many(101, `{"text":"a"}`)), invalidParams, "message.parts"},
		{"33 parts at the limit", message(`"parts":` + many(100, `{"text":"a"}`)), 0, ""},
		{"34 part empty", part(``), invalidParams, "message.parts[1]"},
		{"34 part of two", part(`"text":"a","url":"https://example.com/"`), invalidParams, "message.parts[1]"},
		{"34 part of text and data", part(`"data":{},"text":"a"`), invalidParams, "message.parts[1]"},
		{"34 part of four, three null", part(`"text":"a","raw":null,"url":null,"data":null`), 0, ""},
		{"34 part of four nulls is data null", part(`"text":null,"raw":null,"url":null,"data":null`), 0, ""},
		{"34 text null", part(`"text":null`), invalidParams, "message.parts[1]"},
		{"34 text number", part(`"text":1`), invalidParams, "message.parts[1].text"},
		{"34 data null", part(`"data":null`), 0, ""},
		{"35 raw not base64", part(`"raw":"a*b="`), invalidParams, "message.parts[1].raw"},
		{"35 raw of one character", part(`"raw":"a"`), invalidParams, "message.parts[1].raw"},
		{"35 raw of both alphabets", part(`"raw":"-_+/"`), invalidParams, "message.parts[1].raw"},
		{"35 raw number", part(`"raw":5`), invalidParams, "message.parts[1].raw"},
		{"35 raw padded", part(`"raw":"+/8="`), 0, ""},
		{"35 raw unpadded", part(`"raw":"+/8"`), 0, ""},
		{"35 raw url alphabet", part(`"raw":"-_8="`), 0, ""},
		{"35 raw url alphabet unpadded", part(`"raw":"-_8"`), 0, ""},
		{"35 raw with escaped slash", part(`"raw":"+\/8="`), 0, ""},
		{"36 url file", part(`"url":"file:///etc/passwd"`), invalidParams, "message.parts[1].url"},
		{"36 url data", part(`"url":"data:text/plain,x"`), 0, ""},
		{"36 url data without a comma", part(`"url":"data:text/plain"`), invalidParams, "message.parts[1].url"},
		{"36 url data of no type", part(`"url":"data:png;base64,YQ=="`), invalidParams, "message.parts[1].url"},
		{"36 url data not base64", part(`"url":"data:image/png;base64,a*b="`), invalidParams, "message.parts[1].url"},
		{"36 url data with a bad escape", part(`"url":"data:,100%"`), invalidParams, "message.parts[1].url"},
		{"36 url data with a fragment", part(`"url":"data:image/svg+xml,<svg fill='#fff'/>"`), invalidParams, "message.parts[1].url"},
		{"36 url data beside text", part(`"text":"a","url":"data:,x"`), invalidParams, "message.parts[1]"},
		{"36 url relative", part(`"url":"/x"`), invalidParams, "message.parts[1].url"},
		{"36 url without host", part(`"url":"https:///x"`), invalidParams, "message.parts[1].url"},
		{"36 url opaque", part(`"url":"https:example.com"`), invalidParams, "message.parts[1].url"},
		{"36 url empty", part(`"url":""`), invalidParams, "message.parts[1].url"},
		{"36 url long", part(`"url":"https://example.com/` + long + `"`), invalidParams, "message.parts[1].url"},
		{"37 mediaType long", part(`"text":"x","mediaType":"text/` + long + `"`), invalidParams, "message.parts[1].mediaType"},
		{"37 mediaType CRLF", part(`"text":"x","mediaType":"text/html\r\nX: y"`), invalidParams, "message.parts[1].mediaType"},
		{"37 mediaType without slash is for the handler", part(`"text":"x","mediaType":"html"`), 0, ""},
		{"38 filename path", part(`"text":"x","filename":"../../x"`), 0, ""},
		{"38 filename backslash", part(`"text":"x","filename":"..\\x"`), 0, ""},
		{"38 filename dots", part(`"text":"x","filename":".."`), 0, ""},
		{"38 filename NUL", part(`"text":"x","filename":"a\u0000"`), invalidParams, "message.parts[1].filename"},
		{"38 filename bidi", part(`"text":"x","filename":"a\u202egpj.exe"`), invalidParams, "message.parts[1].filename"},
		{"38 filename long", part(`"text":"x","filename":"` + strings.Repeat("x", 256) + `"`), invalidParams, "message.parts[1].filename"},
		{"38 filename of a long path", part(`"text":"x","filename":"` + strings.Repeat("x/", 2000) + `x"`), 0, ""},
		{"38 filename of a path beyond the limit", part(`"text":"x","filename":"` + strings.Repeat("x/", 2048) + `x"`), invalidParams, "message.parts[1].filename"},
		{"39 high surrogate", part(`"text":"\ud800"`), parseError, "/params/message/parts/1/text"},
		{"39 high surrogate and text", part(`"text":"\ud800x"`), parseError, "/params/message/parts/1/text"},
		{"39 high surrogate and escape", part(`"text":"\ud800\n12345"`), parseError, "/params/message/parts/1/text"},
		{"39 two high surrogates", part(`"text":"\ud800\ud800"`), parseError, "/params/message/parts/1/text"},
		{"39 low surrogate", part(`"text":"\udc00"`), parseError, "/params/message/parts/1/text"},
		{"39 surrogate in metadata", message(`"metadata":{"a":["\udfff"]}`), parseError, "/params/message/metadata/a/0"},
		{"39 surrogate in metadata key", message(`"metadata":{"\udfff":1}`), parseError, "/params/message/metadata"},
		{"39 a pair", part(`"text":"\ud83d\ude00"`), 0, ""},
		{"40 text empty", part(`"text":""`), 0, ""},
		{"40 text of joiners", part(`"text":"\u200d\u200d"`), 0, ""},
		{"40 text of combining marks", part(`"text":"` + strings.Repeat("\u0301", 400_000) + `"`), 0, ""},
		{"41 taskId malformed is for the handler", message(`"taskId":"../x"`), 0, ""},
		{"41 taskId number", message(`"taskId":5`), invalidParams, "message.taskId"},
		{"42 contextId long", message(`"contextId":"` + long + `"`), invalidParams, "message.contextId"},
		{"42 contextId control", message(`"contextId":"a\u0085"`), invalidParams, "message.contextId"},
		{"42 contextId of anyone", message(`"contextId":"somebody-elses"`), 0, ""},
		{"43 references too many", message(`"referenceTaskIds":` + many(9_000, `"a"`)), invalidParams, "message.referenceTaskIds"},
		{"43 reference null", message(`"referenceTaskIds":[null]`), invalidParams, "message.referenceTaskIds[0]"},
		{"44 extension unknown and twice", message(`"extensions":["https://e.com/x","urn:x:y","https://e.com/x"]`), 0, ""},
		{"44 extension no URI", message(`"extensions":["a b"]`), invalidParams, "message.extensions[0]"},
		{"44 extension number", message(`"extensions":[1]`), invalidParams, "message.extensions[0]"},
		{"44 extensions too many", message(`"extensions":` + many(101, `"urn:x:y"`)), invalidParams, "message.extensions"},
		{"45 metadata NaN", message(`"metadata":{"a":NaN}`), parseError, ""},
		{"45 metadata array", message(`"metadata":[]`), invalidParams, "message.metadata"},
		{"45 metadata of the request", request("SendMessage", `{"metadata":5}`), invalidParams, "metadata"},
		{"48 historyLength -1", config(`"historyLength":-1`), invalidParams, "configuration.historyLength"},
		{"48 historyLength 2^31", config(`"historyLength":2147483648`), invalidParams, "configuration.historyLength"},
		{"48 historyLength huge", config(`"historyLength":99999999999999999999`), invalidParams, "configuration.historyLength"},
		{"48 historyLength in a string", config(`"historyLength":"5"`), 0, ""},
		{"48 historyLength string", config(`"historyLength":"x"`), invalidParams, "configuration.historyLength"},
		{"48 historyLength empty string", config(`"historyLength":""`), invalidParams, "configuration.historyLength"},
		{"48 historyLength with space", config(`"historyLength":" 5"`), invalidParams, "configuration.historyLength"},
		{"48 historyLength with plus", config(`"historyLength":"+5"`), invalidParams, "configuration.historyLength"},
		{"48 historyLength with zeros", config(`"historyLength":"005"`), invalidParams, "configuration.historyLength"},
		{"48 historyLength in hexadecimal", config(`"historyLength":"0x5"`), invalidParams, "configuration.historyLength"},
		{"48 historyLength null in a string", config(`"historyLength":"null"`), invalidParams, "configuration.historyLength"},
		{"48 historyLength Infinity", config(`"historyLength":"Infinity"`), invalidParams, "configuration.historyLength"},
		{"48 historyLength 1e400", config(`"historyLength":1e400`), invalidParams, "configuration.historyLength"},
		{"48 historyLength 5.0", config(`"historyLength":5.0`), 0, ""},
		{"48 historyLength fraction", config(`"historyLength":1.5`), invalidParams, "configuration.historyLength"},
		{"48 historyLength of get", request("GetTask", `{"id":"t","historyLength":-1}`), invalidParams, "historyLength"},
		{"48 historyLength of list", list(`"historyLength":-1`), invalidParams, "historyLength"},
		{"48 historyLength 0", config(`"historyLength":0`), 0, ""},
		{"48 historyLength 2^31-1", config(`"historyLength":2147483647`), 0, ""},
		{"49 modes any", config(`"acceptedOutputModes":["*/*","text/*"]`), 0, ""},
		{"49 modes too many", config(`"acceptedOutputModes":` + many(9_000, `"text/plain"`)), invalidParams, "configuration.acceptedOutputModes"},
		{"49 mode no type is for the handler", config(`"acceptedOutputModes":["html","","a\u0000"]`), 0, ""},
		{"49 mode number", config(`"acceptedOutputModes":[1]`), invalidParams, "configuration.acceptedOutputModes[0]"},
		{"50 returnImmediately string", config(`"returnImmediately":"true"`), invalidParams, "configuration.returnImmediately"},
		{"50 returnImmediately number", config(`"returnImmediately":1`), invalidParams, "configuration.returnImmediately"},
		{"50 configuration array", request("SendMessage", `{"configuration":[]}`), invalidParams, "configuration"},

		{"51 pageSize 0", list(`"pageSize":0`), invalidParams, "pageSize"},
		{"51 pageSize -1", list(`"pageSize":-1`), invalidParams, "pageSize"},
		{"51 pageSize 101", list(`"pageSize":101`), invalidParams, "pageSize"},
		{"51 pageSize 2^31", list(`"pageSize":2147483648`), invalidParams, "pageSize"},
		{"51 pageSize string", list(`"pageSize":"x"`), invalidParams, "pageSize"},
		{"51 pageSize of configs", request("ListTaskPushNotificationConfigs", `{"taskId":"t","pageSize":0}`), 0, ""},
		{"51 pageSize of configs -1", request("ListTaskPushNotificationConfigs", `{"taskId":"t","pageSize":-1}`), invalidParams, "pageSize"},
		{"51 pageSize 100", list(`"pageSize":100`), 0, ""},
		{"52 pageToken number", list(`"pageToken":1`), invalidParams, "pageToken"},
		{"52 pageToken long", list(`"pageToken":"` + long + `"`), invalidParams, "pageToken"},
		{"53 status unknown", list(`"status":"UNKNOWN"`), invalidParams, "status"},
		{"53 status lowercase", list(`"status":"completed"`), invalidParams, "status"},
		{"53 status number", list(`"status":3`), 0, ""},
		{"53 status number in a string", list(`"status":"3"`), invalidParams, "status"},
		{"53 status number unknown", list(`"status":9`), invalidParams, "status"},
		{"53 status number with a fraction", list(`"status":3.5`), invalidParams, "status"},
		{"53 status empty", list(`"status":""`), invalidParams, "status"},
		{"53 status known", list(`"status":"TASK_STATE_AUTH_REQUIRED"`), 0, ""},
		{"54 year 0", list(`"statusTimestampAfter":"0000-01-01T00:00:00Z"`), invalidParams, "statusTimestampAfter"},
		{"54 year 10000", list(`"statusTimestampAfter":"10000-01-01T00:00:00Z"`), invalidParams, "statusTimestampAfter"},
		{"54 year 10000 in UTC", list(`"statusTimestampAfter":"9999-12-31T23:59:59-01:00"`), invalidParams, "statusTimestampAfter"},
		{"54 leap second", list(`"statusTimestampAfter":"2016-12-31T23:59:60Z"`), invalidParams, "statusTimestampAfter"},
		{"54 no zone", list(`"statusTimestampAfter":"2016-12-31T23:59:59"`), invalidParams, "statusTimestampAfter"},
		{"54 comma", list(`"statusTimestampAfter":"2016-12-31T23:59:59,5Z"`), invalidParams, "statusTimestampAfter"},
		{"54 hour of one digit", list(`"statusTimestampAfter":"2016-12-31T3:59:59Z"`), invalidParams, "statusTimestampAfter"},
		{"54 empty", list(`"statusTimestampAfter":""`), invalidParams, "statusTimestampAfter"},
		{"54 number", list(`"statusTimestampAfter":5`), invalidParams, "statusTimestampAfter"},
		{"54 future", list(`"statusTimestampAfter":"2999-01-01T00:00:00+02:00"`), 0, ""},
		{"54 includeArtifacts string", list(`"includeArtifacts":"yes"`), invalidParams, "includeArtifacts"},

		{"56 url missing", hook(`"id":"h"`), invalidParams, "url"},
		{"56 url empty", hook(`"url":""`), invalidParams, "url"},
		{"56 url relative", hook(`"url":"/hook"`), invalidParams, "url"},
		{"56 url javascript", hook(`"url":"javascript:alert(1)"`), invalidParams, "url"},
		{"56 url 2084 characters", hook(`"url":"https://example.com/` + strings.Repeat("x", 2064) + `"`), invalidParams, "url"},
		{"56 url inline", config(`"taskPushNotificationConfig":{"url":"x"}`), invalidParams, "configuration.taskPushNotificationConfig.url"},
		{"56 taskId missing", request("CreateTaskPushNotificationConfig", `{"url":"https://example.com/"}`), invalidParams, "taskId"},
		{"57 id empty", hook(`"id":"","url":"https://example.com/"`), 0, ""},
		{"57 id long", hook(`"id":"` + long + `","url":"https://example.com/"`), invalidParams, "id"},
		{"57 id path", hook(`"id":"a/b","url":"https://example.com/"`), invalidParams, "id"},
		{"57 id dots", hook(`"id":"..","url":"https://example.com/"`), invalidParams, "id"},
		{"57 get without id", request("GetTaskPushNotificationConfig", `{"taskId":"t"}`), invalidParams, "id"},
		{"57 delete without task", request("DeleteTaskPushNotificationConfig", `{"id":"t"}`), invalidParams, "taskId"},
		{"59 scheme missing", hook(`"url":"https://example.com/","authentication":{}`), invalidParams, "authentication.scheme"},
		{"59 scheme empty", hook(`"url":"https://example.com/","authentication":{"scheme":""}`), invalidParams, "authentication.scheme"},
		{"59 CRLF in credentials", hook(`"url":"https://example.com/","authentication":{"scheme":"Bearer","credentials":"a\r\nX: y"}`), invalidParams, "authentication.credentials"},
		{"59 token long", hook(`"url":"https://example.com/","token":"` + long + `"`), invalidParams, "token"},
		{"60 terminal task is for the handler", hook(`"url":"https://example.com/"`), 0, ""},
		{"61 taskId inline", config(`"taskPushNotificationConfig":{"url":"https://example.com/","taskId":"t1"}`), invalidParams, "configuration.taskPushNotificationConfig.taskId"},
		{"61 taskId inline empty", config(`"taskPushNotificationConfig":{"url":"https://example.com/","taskId":""}`), 0, ""},
		{"64 unknown fields", message(`"kind":"message","x":{"y":[1,"\u0000"]}`), 0, ""},
		{"64 half a surrogate in an unknown field", message(`"x":{"y":[1,"\ud800"]}`), parseError, "/params/message/x/y/1"},
		{"65 snake_case and camelCase", message(`"messageId":"m","message_id":"n"`), 0, ""},
		{"67 subscribe without id", request("SubscribeToTask", `{}`), invalidParams, "id"},
		{"69 cancel without id", request("CancelTask", `{"metadata":{}}`), invalidParams, "id"},
	}
}

func TestCatalogue(t *testing.T) {
	for _, row := range catalogue() {
		t.Run(row.name, func(t *testing.T) {
			s := &script{}
			used := conformance.Processor()
			got := call(t, handler(s), row.body)
			if d := conformance.Processor() - used; d > 3*time.Second { // the slowest take 0.05 s
				t.Errorf("the answer took %v of the processor", d)
			}
			if got.status >= 500 {
				t.Errorf("status is %d", got.status)
			}

			switch {
			case row.code == 0 && got.Error != nil:
				t.Fatalf("got error %+v, want success", got.Error)
			case row.code == 0:
				return
			case got.Error == nil:
				t.Fatalf("got result %s, want code %d", got.Result, row.code)
			}

			if s.last != nil {
				t.Errorf("the handler was asked: %+v", s.last)
			}

			field := got.Error.field()
			if row.code == parseError && strings.HasSuffix(got.Error.Message, ", in "+row.field) {
				field = row.field
			}

			if got.Error.Code != row.code || field != row.field {
				t.Errorf("got code %d and field %q (%s), want %d and %q",
					got.Error.Code, field, got.Error.Message, row.code, row.field)
			}

			if info := got.Error.info(); info["domain"] != "a2a-protocol.org" || info["reason"] == "" {
				t.Errorf("ErrorInfo is %v", info)
			}
			if len(got.body) > 4<<10 {
				t.Errorf("the error has %d bytes", len(got.body))
			}
		})
	}
}

// TestCatalogueHTTP holds the rows of the catalogue that are not in the body.
func TestCatalogueHTTP(t *testing.T) {
	ok := message("")
	method := func(m string) func(*http.Request) { return func(r *http.Request) { r.Method = m } }
	var extensions []string
	for i := range 1000 {
		extensions = append(extensions, "urn:x:"+strconv.Itoa(i))
	}

	for _, row := range []struct {
		name   string
		edit   func(*http.Request)
		status int
		code   int
	}{
		{"23 no type", header("Content-Type"), 415, -32005},
		{"23 text", header("Content-Type", "text/plain"), 415, -32005},
		{"23 form", header("Content-Type", "application/x-www-form-urlencoded"), 415, -32005},
		{"23 UTF-16", header("Content-Type", "application/json; charset=utf-16"), 415, -32005},
		{"23 two types", header("Content-Type", "application/json", "text/plain"), 415, -32005},
		{"23 broken", header("Content-Type", "application/json; charset"), 415, -32005},
		{"23 UTF-8", header("Content-Type", `Application/JSON; charset="UTF-8"`), 200, 0},
		{"23 A2A", header("Content-Type", "application/a2a+json"), 200, 0},
		{"26 gzip that is none", header("Content-Encoding", "gzip"), 400, -32600},
		{"26 br", header("Content-Encoding", "br"), 415, -32005},
		{"26 two", header("Content-Encoding", "gzip", "gzip"), 415, -32005},
		{"26 identity", header("Content-Encoding", "identity"), 200, 0},
		{"30 GET", method("GET"), 405, -32600},
		{"30 HEAD", method("HEAD"), 405, -32600},
		{"30 OPTIONS", method("OPTIONS"), 405, -32600},
		{"30 TRACE", method("TRACE"), 405, -32600},
		{"62 version absent", header("A2A-Version"), 200, 0},
		{"62 version empty", header("A2A-Version", ""), 200, 0},
		{"62 version 1.0", header("A2A-Version", "1.0"), 200, 0},
		{"62 version 0.3", header("A2A-Version", "0.3"), 200, -32009},
		{"62 version 1.1", header("A2A-Version", "1.1"), 200, -32009},
		{"62 version 1.0.0", header("A2A-Version", "1.0.0"), 200, 0}, // a patch number is no other version
		{"62 version 1.0.", header("A2A-Version", "1.0."), 200, -32009},
		{"62 version 1.0.x", header("A2A-Version", "1.0.x"), 200, -32009},
		{"62 version 1.0.0.0", header("A2A-Version", "1.0.0.0"), 200, -32009},
		{"62 version 0.3.0", header("A2A-Version", "0.3.0"), 200, -32009},
		{"62 version abc", header("A2A-Version", "abc"), 200, -32009},
		{"62 two versions", header("A2A-Version", "1.0", "0.3"), 200, -32009},
		{"62 one version twice", header("A2A-Version", "1.0", "1.0"), 200, -32009},
		{"62 version in header and query", both(header("A2A-Version", "1.0"), query("A2A-Version=1.0")), 200, 0},
		{"62 versions that contradict", both(header("A2A-Version", "1.0"), query("A2A-Version=0.3")), 200, -32009},
		{"62 two versions in a line", header("A2A-Version", "1.0, 0.3"), 200, -32009},
		{"62 version in query", query("A2A-Version=1.0"), 200, 0},
		{"62 other version in query", query("A2A-Version=0.3"), 200, -32009},
		{"63 1000 extensions", header("A2A-Extensions", extensions...), 200, -32600},
		{"63 100 extensions", header("A2A-Extensions", extensions[:100]...), 200, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := call(t, handler(&script{}), ok, row.edit)
			code := 0
			if got.Error != nil {
				code = got.Error.Code
			}
			if got.status != row.status || code != row.code {
				t.Errorf("got status %d and code %d (%s), want %d and %d", got.status, code, got.body, row.status, row.code)
			}
			if row.status == 405 && got.header.Get("Allow") != "POST" {
				t.Errorf("Allow is %q", got.header.Get("Allow"))
			}

			if code == -32009 && got.Error.info()["metadata"].(map[string]any)["supportedVersions"] != "1.0, 0.3" {
				t.Errorf("ErrorInfo is %v", got.Error.info())
			}
		})
	}
}

func both(a, b func(*http.Request)) func(*http.Request) {
	return func(r *http.Request) { a(r); b(r) }
}

func query(raw string) func(*http.Request) {
	return func(r *http.Request) { r.URL.RawQuery = raw }
}
