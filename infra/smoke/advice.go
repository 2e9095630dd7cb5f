package smoke

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"syscall"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// explain turns an error into advice for the agent's operator.
func (r *run) explain(err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	if a, ok := errors.AsType[*answer](err); ok {
		return &fault{a.Error(), r.onAnswer(a)}
	}
	if f := r.onNetwork(err); f != nil {
		return f
	}
	if known, ok := errors.AsType[*a2a.Error](err); ok {
		var mend []string
		if errors.Is(known, a2a.ErrInternalError) {
			mend = []string{"the log of cardserver has the cause under that request"}
		}
		return wrong(mend, "the agent answers: %s", quote(known.Error()))
	}
	return wrong([]string{"either the agent does not speak the protocol that its card declares, or a proxy in between changes answers"}, "%s", quote(err.Error()))
}

// onNetwork is the fault when there was no answer at all; nil: there was one.
func (r *run) onNetwork(err error) *fault {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return wrong([]string{
			"check the spelling; gcloud run services list shows the addresses of services",
			"a domain of your own needs a record that leads to the service",
		}, "the name %s is not known (DNS)", dns.Name)
	}

	switch _, notTLS := errors.AsType[tls.RecordHeaderError](err); {
	case notTLS || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return wrong([]string{"write http:// for an agent on this machine; elsewhere put TLS in front of it"}, "%s does not speak TLS", r.base.Host)
	case isCertificate(err):
		return wrong([]string{
			"the certificate must name the address; a new domain on Google Cloud gets its certificate within an hour",
			"for a certificate authority of your own, name its file in SSL_CERT_FILE",
		}, "the certificate of %s is not accepted: %s", r.base.Host, certificate(err))
	case errors.Is(err, syscall.ECONNREFUSED):
		return wrong([]string{
			"start the agent (go run ./cardserver), or correct the port: PORT and ERRAND_LISTEN decide it, and the agent's log names it",
			"in a container the agent must listen on all interfaces: ERRAND_LISTEN=0.0.0.0:8080",
		}, "no server listens at %s", r.base.Host)
	case errors.Is(err, context.DeadlineExceeded) || isTimeout(err):
		return wrong([]string{
			"a firewall may drop the request; a service whose ingress is internal answers only inside its network",
			"or the agent hangs: see its log",
		}, "no answer from %s in time", r.base.Host)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET):
		return wrong([]string{"the process ended or was replaced while it answered: its log has the reason; then try again"}, "%s closed the connection without an answer", r.base.Host)
	}

	if op, ok := errors.AsType[*net.OpError](err); ok {
		return wrong([]string{"check the address, and the network between here and there"}, "%s cannot be reached: %s", r.base.Host, op.Err)
	}

	return nil
}

func isTimeout(err error) bool {
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

func isCertificate(err error) bool { return certificate(err) != "" }

// certificate is the problem of a certificate, if there is one. Go finds it itself or asks
// the system.
func certificate(err error) string {
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e.Err.Error()
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return e.Error()
	}
	return ""
}

// onAnswer is the advice for an answer of HTTP itself.
func (r *run) onAnswer(a *answer) []string {
	switch {
	case a.status >= 300 && a.status < 400:
		return []string{
			"the answer redirects to " + quote(a.location) + ": try that address, if it is the agent's",
			"a log-in page comes from a proxy (such as IAP) that programs cannot use: let programs pass, and let the agent check credentials",
		}

	case a.status == http.StatusUnauthorized:
		return r.onUnauthorized(a)

	case a.status == http.StatusForbidden:
		return r.onForbidden(a)

	case a.status == http.StatusNotFound:
		return []string{
			"give the address of the agent: " + cardPath + " is read below it",
			"Cloud Run gives the same answer if there is no such service, or if its ingress is internal: gcloud run services list",
		}

	case a.status == http.StatusMisdirectedRequest:
		return []string{
			"the agent listens on loopback, but was called by another name: call http://127.0.0.1 with its port",
			"or set ERRAND_URL to the address at which clients reach it",
		}

	case a.status == http.StatusTooManyRequests:
		return []string{"wait" + inSeconds(a.retry) + "; the agent slows down an address after wrong credentials", "from Cloud Run itself: no instance was free, so allow more of them (instances in infra/variables.tf)"}

	case a.status == http.StatusBadRequest && strings.Contains(a.message, "HTTPS"):
		return []string{"write https://"}

	case a.status == http.StatusServiceUnavailable && a.page:
		return []string{"Cloud Run could start no instance: the log of cardserver names the missing variable, secret or right"}

	case a.status == http.StatusServiceUnavailable:
		return []string{
			"try again" + inSeconds(a.retry) + ": its store, or the issuer whose keys it needs, did not answer",
			"if this persists: the log of cardserver names the one that does not",
		}

	case a.status >= 500:
		return []string{"the log of cardserver has the cause; from a load balancer: whether it reaches the service at all"}
	}

	return []string{"a proxy between here and the agent gave this answer: the agent itself does not"}
}

func inSeconds(retry string) string {
	if retry == "" || strings.Trim(retry, "0123456789") != "" {
		return ""
	}
	return " in " + retry + " s"
}

var audienceForm = regexp.MustCompile(`audience="([^"]*)"`)

// onUnauthorized says which credentials are required, and how to get them.
func (r *run) onUnauthorized(a *answer) []string {
	if a.page { // the agent itself did not answer
		return []string{
			"Cloud Run itself requires an ID token of an account with roles/run.invoker: let all users pass, and let the agent check credentials (clients = [\"allUsers\"] in infra)",
			"or -token with " + tokenCommand(r.base.Scheme+"://"+r.base.Host),
		}
	}

	var mend []string
	switch {
	case r.Key == "" && r.Token == "":
		mend = append(mend, "no credentials were sent: use -key or -token, as @FILE so that no list of processes shows them")
	case r.Key != "" && r.courier.keyHeader != "":
		mend = append(mend, "the key was sent as "+r.courier.keyHeader)
	case r.Key != "":
		mend = append(mend, "the key was sent as Authorization: Bearer")
	default:
		mend = append(mend, "the token was sent as Authorization: Bearer; it is valid for an hour at most")
	}

	audience := ""
	if m := audienceForm.FindStringSubmatch(a.challenge); m != nil {
		audience, _, _ = strings.Cut(m[1], " ")
	}
	if a.challenge != "" {
		mend = append(mend, "the agent requires: "+quote(a.challenge))
	}
	if a.message == "" || strings.Contains(a.message, "API key") {
		mend = append(mend, "a key: go run ./cardserver key NAME prints one and its line for the access file (ERRAND_ACCESS), which instances read when they start")
	}

	if audience != "" {
		mend = append(mend, "a token: "+tokenCommand(audience))
	}

	return mend
}

// tokenCommand is the command that makes a Google ID token. Only service accounts can
// choose the audience.
func tokenCommand(audience string) string {
	return "gcloud auth print-identity-token --audiences=" + quote(audience) +
		" (with your own account add --impersonate-service-account=EMAIL --include-email)"
}

func (r *run) onForbidden(a *answer) []string {
	if a.page {
		mend := []string{
			"Cloud Run itself refuses: let all users pass, and let the agent check credentials: " +
				"gcloud run services add-iam-policy-binding SERVICE --region=REGION --member=allUsers --role=roles/run.invoker (with infra: clients = [\"allUsers\"])",
			"an organisation may forbid allUsers (iam.allowedPolicyMemberDomains): then give roles/run.invoker to the callers",
		}
		if r.Token == "" {
			return append(mend, "and send -token with "+tokenCommand(r.base.Scheme+"://"+r.base.Host))
		}
		return append(mend, "the account of the token that was sent does not have that role")
	}
	return []string{"the agent's operator has to add you to its access file (ERRAND_ACCESS): the e-mail address or subject of the token, under a principal"}
}

// Advice for a task that makes no progress. The names are those of infra with its default
// prefix.
var (
	submittedAdvice = []string{
		"no worker takes the task. On one machine, see the log of the agent. On Google Cloud, see:",
		"gcloud tasks list --queue=errand-turns --location=REGION: a task with attempts is dispatched and refused (next lines), one without attempts waits in a paused queue, and a missing one was never added (last line)",
		"log of worker, \"request refused at the door\": ERRAND_INVOKER and ERRAND_WORKER_URL must be the same as those of cardserver; the line names the audience and the reason",
		"attempts with 401 or 403 and nothing in that log: Cloud Run's own check is on and ERRAND_INVOKER lacks roles/run.invoker on worker; 404: ERRAND_WORKER_URL is wrong; 503 or none: worker does not start, its log has the reason",
		"log of cardserver, \"job not added\": it lacks roles/cloudtasks.enqueuer or ERRAND_QUEUE is wrong; once that is corrected, the sweep adds the job within two minutes",
	}
	workingAdvice = []string{
		"a worker has it and the model does not answer: the log of worker names the model's error (ERRAND_MODEL, its key or the right aiplatform.endpoints.predict, whether GOOGLE_CLOUD_LOCATION has the model, quota)",
		"if the model is only slow: -timeout 5m",
	}
	failedAdvice = []string{
		"the log of worker has the reason, under that task: usually the model (ERRAND_MODEL, its key or the right aiplatform.endpoints.predict) or a tool",
	}
	cutAdvice = []string{
		"a proxy in between ends long answers or holds them back: raise its timeout (Cloud Run: 3600 s) and switch its buffering off for text/event-stream",
		"or the process ended: the log of cardserver has the reason",
	}
)

// late is the fault of a task that did not end in time.
func (b *binding) late(task *a2a.Task) *fault {
	mend := workingAdvice
	if task.Status.State == a2a.TaskStateSubmitted {
		mend = submittedAdvice
	}
	say := ""
	if words := said(task.Status.Message); words != "" {
		say = ", and says: " + words
	}
	return wrong(mend, "task %s is still %s after %v%s", quote(string(task.ID)), state(task.Status.State), b.Timeout, say)
}

// slow is the fault of a stream that did not end in time.
func (b *binding) slow(w *watched) *fault {
	if w.task == nil {
		return wrong(cutAdvice, "no event came in %v", b.Timeout)
	}
	return b.late(w.task)
}

// cut is the fault of a stream that ended before its task.
func (w *watched) cut(err error) *fault {
	why := ""
	if err != nil {
		why = ": " + quote(err.Error())
	}
	return &fault{fmt.Sprintf("the stream was cut after %d events, when %s%s", w.events, w.last(), why), cutAdvice}
}
